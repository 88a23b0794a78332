#import "emulated/framework/events.h"

@implementation _ANEPerformanceStats

- (id)init {
  [self release];
  return nil;
}

- (id)initWithHardwareExecutionNS:(unsigned long long)ns {
  self = [super init];
  if (self != nil) _ns = ns;
  return self;
}

+ (id)statsWithHardwareExecutionNS:(unsigned long long)ns {
  MILANE_CALL;
  return [[[self alloc] initWithHardwareExecutionNS:ns] autorelease];
}

+ (id)statsWithReconstructed:(NSDictionary*)reconstructed
         hardwareExecutionNS:(unsigned long long)ns
             aneStatsRawData:(NSData*)raw {
  (void)reconstructed;
  (void)raw;
  return [self statsWithHardwareExecutionNS:ns];
}

+ (id)statsWithRequestPerformanceBuffer:(void**)buffer statsBufferSize:(unsigned int*)size {
  MILANE_CALL;
  if (buffer != NULL) *buffer = NULL;
  if (size != NULL) *size = 0;
  return nil;  // the compiled program has no section for statistics (ane_facts A.7)
}

// Only 0x1 to 0xF mean something (ane_facts A.7).
+ (unsigned int)driverMaskForANEFMask:(unsigned int)mask {
  return mask <= 0xF ? mask : 0;
}

- (void)measured:(unsigned long long)ns {
  __atomic_store_n(&_ns, ns, __ATOMIC_RELAXED);
}

- (unsigned long long)hwExecutionTime {
  return __atomic_load_n(&_ns, __ATOMIC_RELAXED);
}

- (NSData*)perfCounterData {
  return nil;
}

- (NSDictionary*)performanceCounters {
  return @{};
}

- (NSString*)stringForPerfCounter:(int)counter {
  (void)counter;
  return nil;
}

- (NSData*)pStatsRawData {
  return nil;
}

@end
