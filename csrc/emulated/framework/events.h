// Shared events of a request (ane_facts A.8), and its performance statistics (A.7).
#pragma once

#import "emulated/framework/errors.h"
#import "emulated/shims/shared_event.h"

@interface _ANESharedSignalEvent : MilaneEmulated {
 @private
  IOSurfaceSharedEvent* _sharedEvent;
  unsigned long long _value;
  unsigned int _symbolIndex;
  long long _eventType;
  unsigned long long _agentMask;
}
+ (id)signalEventWithValue:(unsigned long long)value
               symbolIndex:(unsigned int)symbolIndex
                 eventType:(long long)eventType
               sharedEvent:(IOSurfaceSharedEvent*)sharedEvent;
- (id)initWithValue:(unsigned long long)value
        symbolIndex:(unsigned int)symbolIndex
          eventType:(long long)eventType
        sharedEvent:(IOSurfaceSharedEvent*)sharedEvent
          agentMask:(unsigned long long)agentMask;
- (IOSurfaceSharedEvent*)sharedEvent;
- (unsigned long long)value;
- (unsigned int)symbolIndex;
- (long long)eventType;
- (unsigned long long)agentMask;
@end

@interface _ANESharedWaitEvent : MilaneEmulated {
 @private
  IOSurfaceSharedEvent* _sharedEvent;
  unsigned long long _value, _eventType;
}
+ (id)waitEventWithValue:(unsigned long long)value sharedEvent:(IOSurfaceSharedEvent*)event;
+ (id)waitEventWithValue:(unsigned long long)value
             sharedEvent:(IOSurfaceSharedEvent*)event
               eventType:(unsigned long long)eventType;
- (IOSurfaceSharedEvent*)sharedEvent;
- (unsigned long long)value;
- (unsigned long long)eventType;
@end

@interface _ANESharedEvents : MilaneEmulated {
 @private
  NSArray *_signalEvents, *_waitEvents;
}
+ (id)sharedEventsWithSignalEvents:(NSArray*)signalEvents waitEvents:(NSArray*)waitEvents;
- (NSArray*)signalEvents;
- (NSArray*)waitEvents;
@end

@interface _ANEPerformanceStats : MilaneEmulated {
 @private
  unsigned long long _ns;
}
+ (id)statsWithHardwareExecutionNS:(unsigned long long)ns;
+ (id)statsWithReconstructed:(NSDictionary*)reconstructed
         hardwareExecutionNS:(unsigned long long)ns
             aneStatsRawData:(NSData*)raw;
+ (id)statsWithRequestPerformanceBuffer:(void**)buffer statsBufferSize:(unsigned int*)size;
+ (unsigned int)driverMaskForANEFMask:(unsigned int)mask;
- (unsigned long long)hwExecutionTime;
- (NSData*)perfCounterData;
- (NSDictionary*)performanceCounters;
- (NSString*)stringForPerfCounter:(int)counter;
- (NSData*)pStatsRawData;
- (void)measured:(unsigned long long)ns;  // the emulation's own
@end

// Waits for what the events wait for; NO when one does not come in time.
BOOL milane_wait_for(_ANESharedEvents* events);
void milane_signal(_ANESharedEvents* events);
