// Blocks as objects: [block copy], and blocks in collections.
#import <Foundation/Foundation.h>

#include <Block.h>
#include <string.h>

// libBlocksRuntime exports 32 zero words per kind of block where a class belongs. GCC's class is 13
// words: a real one fits, copied in.
@interface MilaneBlock : NSObject
@end

extern char _NSConcreteStackBlock[], _NSConcreteMallocBlock[], _NSConcreteGlobalBlock[];
enum { kClassBytes = 13 * sizeof(void*) };

@implementation MilaneBlock

// Not __attribute__((constructor)), which may run before this file's selectors are registered.
+ (void)load {
  @autoreleasepool {
    const void* cls = [MilaneBlock class];  // the first message fills in the dispatch table
    memcpy(_NSConcreteStackBlock, cls, kClassBytes);
    memcpy(_NSConcreteMallocBlock, cls, kClassBytes);
    memcpy(_NSConcreteGlobalBlock, cls, kClassBytes);
  }
}

- (id)copyWithZone:(NSZone*)zone {
  (void)zone;
  return (id)_Block_copy(self);
}

- (id)copy {
  return (id)_Block_copy(self);
}

- (id)retain {
  return (id)_Block_copy(self);
}

- (oneway void)release {
  _Block_release(self);
}

- (NSUInteger)retainCount {
  return 1;
}

@end
