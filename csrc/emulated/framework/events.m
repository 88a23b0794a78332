#import "emulated/framework/events.h"

// The device's own patience is not published; a test's is short.
enum { kPatienceMs = 5000 };
// The type that the working recipe uses (ane_facts A.8); what others do is not published.
enum { kSignalType = 5 };

@implementation _ANESharedSignalEvent

- (id)init {
  [self release];
  return nil;
}

- (id)initWithValue:(unsigned long long)value
        symbolIndex:(unsigned int)symbolIndex
          eventType:(long long)eventType
        sharedEvent:(IOSurfaceSharedEvent*)sharedEvent
          agentMask:(unsigned long long)agentMask {
  self = [super init];
  if (self == nil) return nil;
  _value = value;
  _symbolIndex = symbolIndex;
  _eventType = eventType;
  _sharedEvent = [sharedEvent retain];
  _agentMask = agentMask;
  return self;
}

+ (id)signalEventWithValue:(unsigned long long)value
               symbolIndex:(unsigned int)symbolIndex
                 eventType:(long long)eventType
               sharedEvent:(IOSurfaceSharedEvent*)sharedEvent {
  MILANE_CALL;
  milane_expect(sharedEvent, [IOSurfaceSharedEvent class], "signalEventWithValue");
  if (milane_fault(kNilEvent)) return nil;
  return [[[self alloc] initWithValue:value
                          symbolIndex:symbolIndex
                            eventType:eventType
                          sharedEvent:sharedEvent
                            agentMask:0] autorelease];
}

- (void)dealloc {
  [_sharedEvent release];
  [super dealloc];
}

- (IOSurfaceSharedEvent*)sharedEvent {
  return _sharedEvent;
}

- (unsigned long long)value {
  return _value;
}

- (unsigned int)symbolIndex {
  return _symbolIndex;
}

- (long long)eventType {
  return _eventType;
}

- (unsigned long long)agentMask {
  return _agentMask;
}

@end

@implementation _ANESharedWaitEvent

- (id)init {
  [self release];
  return nil;
}

- (id)initWithValue:(unsigned long long)value
        sharedEvent:(IOSurfaceSharedEvent*)event
          eventType:(unsigned long long)eventType {
  self = [super init];
  if (self == nil) return nil;
  _value = value;
  _sharedEvent = [event retain];
  _eventType = eventType;
  return self;
}

+ (id)waitEventWithValue:(unsigned long long)value sharedEvent:(IOSurfaceSharedEvent*)event {
  return [self waitEventWithValue:value sharedEvent:event eventType:0];
}

+ (id)waitEventWithValue:(unsigned long long)value
             sharedEvent:(IOSurfaceSharedEvent*)event
               eventType:(unsigned long long)eventType {
  MILANE_CALL;
  milane_expect(event, [IOSurfaceSharedEvent class], "waitEventWithValue");
  if (milane_fault(kNilEvent)) return nil;
  return [[[self alloc] initWithValue:value sharedEvent:event eventType:eventType] autorelease];
}

- (void)dealloc {
  [_sharedEvent release];
  [super dealloc];
}

- (IOSurfaceSharedEvent*)sharedEvent {
  return _sharedEvent;
}

- (unsigned long long)value {
  return _value;
}

- (unsigned long long)eventType {
  return _eventType;
}

@end

@implementation _ANESharedEvents

- (id)init {
  [self release];
  return nil;
}

- (id)initWithSignalEvents:(NSArray*)signalEvents waitEvents:(NSArray*)waitEvents {
  self = [super init];
  if (self == nil) return nil;
  _signalEvents = [signalEvents copy];
  _waitEvents = [waitEvents copy];
  return self;
}

+ (id)sharedEventsWithSignalEvents:(NSArray*)signalEvents waitEvents:(NSArray*)waitEvents {
  MILANE_CALL;
  if (milane_fault(kNilEvent)) return nil;
  return [[[self alloc] initWithSignalEvents:signalEvents waitEvents:waitEvents] autorelease];
}

- (void)dealloc {
  [_signalEvents release];
  [_waitEvents release];
  [super dealloc];
}

- (NSArray*)signalEvents {
  return _signalEvents;
}

- (NSArray*)waitEvents {
  return _waitEvents;
}

@end

BOOL milane_wait_for(_ANESharedEvents* events) {
  for (_ANESharedWaitEvent* wait in [events waitEvents]) {
    if (![[wait sharedEvent] waitUntilSignaledValue:[wait value] timeoutMS:kPatienceMs]) return NO;
  }
  return YES;
}

void milane_signal(_ANESharedEvents* events) {
  for (_ANESharedSignalEvent* signal in [events signalEvents]) {
    if ([signal eventType] != kSignalType) continue;
    [[signal sharedEvent] setSignaledValue:[signal value]];
  }
}
