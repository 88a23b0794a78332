#import "emulated/framework/memory_model.h"

static NSString* digest_of(NSData* data) {
  MilaneDigest digest;
  char text[kDigestText];
  milane_digest_start(&digest);
  milane_digest_add(&digest, [data bytes], [data length]);
  milane_digest_text(&digest, text);
  return [NSString stringWithUTF8String:text];
}

static NSString* digest_of_weights(NSDictionary* weights) {
  MilaneDigest digest;
  char text[kDigestText];
  milane_digest_start(&digest);
  for (NSString* path in [[weights allKeys] sortedArrayUsingSelector:@selector(compare:)]) {
    NSData* data = [[weights objectForKey:path] objectForKey:@"data"];
    const char* name = [path UTF8String];
    milane_digest_add(&digest, name, strlen(name));
    milane_digest_add(&digest, [data bytes], [data length]);
  }
  milane_digest_text(&digest, text);
  return [NSString stringWithUTF8String:text];
}

// Text has to be NSData, weights a dictionary of {offset, data}, never nil (ane_facts A.1).
static void check_content(id text, id weights) {
  milane_expect(text, [NSData class], "descriptor: text");
  milane_expect(weights, [NSDictionary class], "descriptor: weights");
  for (NSString* path in weights) {
    NSDictionary* weight = [weights objectForKey:path];
    milane_expect(weight, [NSDictionary class], "descriptor: weight");
    milane_expect([weight objectForKey:@"offset"], [NSNumber class], "descriptor: offset");
    milane_expect([weight objectForKey:@"data"], [NSData class], "descriptor: data");
  }
}

@implementation _ANEInMemoryModelDescriptor

- (id)initWithNetworkText:(NSData*)text
                  weights:(NSDictionary*)weights
             optionsPlist:(NSData*)plist
               isMILModel:(BOOL)isMILModel {
  self = [super init];
  if (self == nil) return nil;
  check_content(text, weights);
  _networkText = [text copy];
  _weights = [weights copy];
  _optionsPlist = [plist copy];
  _networkTextHash = [digest_of(text) retain];
  _optionsPlistHash = [digest_of(plist) retain];
  _weightsHash = [digest_of_weights(weights) retain];
  _isMILModel = isMILModel;
  return self;
}

- (void)dealloc {
  [_networkText release];
  [_weights release];
  [_optionsPlist release];
  [_networkTextHash release];
  [_optionsPlistHash release];
  [_weightsHash release];
  [super dealloc];
}

+ (id)modelWithText:(NSData*)text
            weights:(NSDictionary*)weights
       optionsPlist:(NSData*)plist
         isMILModel:(BOOL)isMILModel {
  milane_raise_if(kExceptionDescriptor, "descriptor");
  check_content(text, weights);
  if ([text length] == 0 || milane_fault(kNilDescriptor)) return nil;
  return [[[self alloc] initWithNetworkText:text
                                    weights:weights
                               optionsPlist:plist
                                 isMILModel:isMILModel] autorelease];
}

+ (id)modelWithMILText:(NSData*)text weights:(NSDictionary*)weights optionsPlist:(NSData*)plist {
  MILANE_CALL;
  return [self modelWithText:text weights:weights optionsPlist:plist isMILModel:YES];
}

+ (id)modelWithNetworkDescription:(NSData*)description
                          weights:(NSDictionary*)weights
                     optionsPlist:(NSData*)plist {
  MILANE_CALL;
  return [self modelWithText:description weights:weights optionsPlist:plist isMILModel:NO];
}

// Text, options, weights: the published order (ane_facts A.1).
- (NSString*)hexStringIdentifier {
  return [NSString stringWithFormat:@"%@_%@_%@", _networkTextHash, _optionsPlistHash, _weightsHash];
}

- (NSData*)networkText {
  return _networkText;
}

- (NSDictionary*)weights {
  return _weights;
}

- (NSData*)optionsPlist {
  return _optionsPlist;
}

- (NSString*)networkTextHash {
  return _networkTextHash;
}

- (NSString*)weightsHash {
  return _weightsHash;
}

- (NSString*)optionsPlistHash {
  return _optionsPlistHash;
}

- (BOOL)isMILModel {
  return _isMILModel;
}

@end
