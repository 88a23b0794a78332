// What the machine says of its engine, and the mapper of qualities of service (ane_facts A.10,
// B.6).
#import "emulated/framework/errors.h"

#include <objc/runtime.h>

@interface _ANEDeviceInfo : MilaneEmulated
+ (BOOL)hasANE;
+ (unsigned int)numANEs;
+ (unsigned int)numANECores;
+ (NSString*)aneArchitectureType;
+ (NSString*)aneSubType;
+ (NSString*)aneSubTypeVariant;
+ (NSString*)aneSubTypeProductVariant;
+ (NSString*)aneSubTypeAndVariant;
+ (long long)aneBoardType;
+ (NSString*)productName;
+ (NSString*)buildVersion;
+ (NSString*)bootArgs;
+ (BOOL)isInternalBuild;
+ (BOOL)isExcessivePowerDrainWhenIdle;
+ (BOOL)precompiledModelChecksDisabled;
+ (BOOL)isVirtualMachine;
@end

@implementation _ANEDeviceInfo

+ (BOOL)hasANE {
  MILANE_CALL;
  milane_raise_if(kExceptionDevice, "_ANEDeviceInfo");
  return !milane_fault(kNoAne);
}

+ (unsigned int)numANEs {
  return 1;
}

+ (unsigned int)numANECores {
  return 16;
}

+ (NSString*)aneArchitectureType {
  return @"h16g";
}

+ (NSString*)aneSubType {
  return @"h16";
}

+ (NSString*)aneSubTypeVariant {
  return @"g";
}

+ (NSString*)aneSubTypeProductVariant {
  return @"";
}

+ (NSString*)aneSubTypeAndVariant {
  return @"h16g";
}

+ (long long)aneBoardType {
  return 192;
}

+ (NSString*)productName {
  return @"Milane emulated framework";
}

+ (NSString*)buildVersion {
  return @"00A000";
}

+ (NSString*)bootArgs {
  return @"";
}

+ (BOOL)isInternalBuild {
  return NO;
}

+ (BOOL)isExcessivePowerDrainWhenIdle {
  return [self aneBoardType] == 96;
}

+ (BOOL)precompiledModelChecksDisabled {
  return NO;
}

+ (BOOL)isVirtualMachine {
  return milane_fault(kVm);
}

@end

// The published values; what is unknown counts as the default.
typedef struct {
  unsigned int qos;
  int priority, queue;
} QosRow;
enum { kRealTime, kBackground, kUtility, kDefault, kUserInitiated, kUserInteractive, kQosCount };
static const QosRow kQos[kQosCount] = {
    [kRealTime] = {0, 2, 2}, [kBackground] = {9, 6, 6},     [kUtility] = {17, 5, 5},
    [kDefault] = {21, 5, 5}, [kUserInitiated] = {25, 4, 4}, [kUserInteractive] = {33, 3, 3},
};

static const QosRow* row_of(unsigned int qos) {
  for (int i = 0; i < kQosCount; ++i) {
    if (kQos[i].qos == qos) return &kQos[i];
  }
  return &kQos[kDefault];
}

@interface _ANEQoSMapper : MilaneEmulated
+ (unsigned int)aneRealTimeTaskQoS;
+ (unsigned int)aneBackgroundTaskQoS;
+ (unsigned int)aneUtilityTaskQoS;
+ (unsigned int)aneDefaultTaskQoS;
+ (unsigned int)aneUserInitiatedTaskQoS;
+ (unsigned int)aneUserInteractiveTaskQoS;
+ (int)programPriorityForQoS:(unsigned int)qos;
+ (unsigned int)qosForProgramPriority:(int)priority;
+ (unsigned long long)queueIndexForQoS:(unsigned int)qos;
+ (int)realTimeProgramPriority;
+ (unsigned long long)realTimeQueueIndex;
@end

@implementation _ANEQoSMapper

+ (unsigned int)aneRealTimeTaskQoS {
  return kQos[kRealTime].qos;
}

+ (unsigned int)aneBackgroundTaskQoS {
  return kQos[kBackground].qos;
}

+ (unsigned int)aneUtilityTaskQoS {
  return kQos[kUtility].qos;
}

+ (unsigned int)aneDefaultTaskQoS {
  return kQos[kDefault].qos;
}

+ (unsigned int)aneUserInitiatedTaskQoS {
  return kQos[kUserInitiated].qos;
}

+ (unsigned int)aneUserInteractiveTaskQoS {
  return kQos[kUserInteractive].qos;
}

+ (int)programPriorityForQoS:(unsigned int)qos {
  return row_of(qos)->priority;
}

// Two of them share a priority: the default is meant.
+ (unsigned int)qosForProgramPriority:(int)priority {
  for (int i = 0; i < kQosCount; ++i) {
    if (kQos[i].priority == priority && i != kUtility) return kQos[i].qos;
  }
  return kQos[kDefault].qos;
}

+ (unsigned long long)queueIndexForQoS:(unsigned int)qos {
  return (unsigned long long)row_of(qos)->queue;
}

+ (int)realTimeProgramPriority {
  return kQos[kRealTime].priority;
}

+ (unsigned long long)realTimeQueueIndex {
  return (unsigned long long)kQos[kRealTime].queue;
}

@end
