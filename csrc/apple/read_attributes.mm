#include "apple/read_attributes.h"

#include "apple/objc.h"

namespace milane::apple {
namespace {

[[noreturn]] void fail(const std::string& key, const char* expected) {
  throw Error(
      ErrorCode::kLayout,
      "attributes: expected " + std::string(expected) + " under " + key +
          ", got something else or nothing",
      "the layout is never guessed: `milane doctor` compares this system with the known ones")
      .during("attributes");
}

template <class T>
T* get(NSDictionary* dictionary, NSString* key, const char* expected) {
  id value = [dictionary objectForKey:key];
  if (![value isKindOfClass:[T class]]) fail(text(key), expected);
  return value;
}

NSDictionary* dictionary_at(NSArray* array, NSUInteger i, NSString* key) {
  id value = [array objectAtIndex:i];
  if (![value isKindOfClass:[NSDictionary class]]) fail(text(key), "dictionaries");
  return value;
}

std::int64_t integer(NSDictionary* dictionary, NSString* key) {
  return [get<NSNumber>(dictionary, key, "a number") longLongValue];
}

std::vector<std::string> strings(NSDictionary* dictionary, NSString* key) {
  std::vector<std::string> all;
  for (id value in get<NSArray>(dictionary, key, "an array")) {
    if (![value isKindOfClass:[NSString class]]) fail(text(key), "strings");
    all.push_back(text(value));
  }
  return all;
}

TensorAttributes tensor(NSDictionary* d) {
  TensorAttributes t;
  t.name = text(get<NSString>(d, @"Name", "a string"));
  t.type = text(get<NSString>(d, @"Type", "a string"));
  t.batches = integer(d, @"Batches");
  t.channels = integer(d, @"Channels");
  t.depth = integer(d, @"Depth");
  t.height = integer(d, @"Height");
  t.width = integer(d, @"Width");
  t.batch_stride = integer(d, @"BatchStride");
  t.depth_stride = integer(d, @"DepthStride");
  t.plane_stride = integer(d, @"PlaneStride");
  t.row_stride = integer(d, @"RowStride");
  return t;
}

std::vector<TensorAttributes> tensors(NSDictionary* status, NSString* key) {
  std::vector<TensorAttributes> all;
  NSArray* list = get<NSArray>(status, key, "an array");
  for (NSUInteger i = 0; i < [list count]; ++i) all.push_back(tensor(dictionary_at(list, i, key)));
  return all;
}

}  // namespace

ModelAttributes read_attributes(NSDictionary* dictionary) {
  if (![dictionary isKindOfClass:[NSDictionary class]]) fail("modelAttributes", "a dictionary");
  ModelAttributes attributes;
  NSDictionary* model = get<NSDictionary>(dictionary, @"ANEFModelDescription", "a dictionary");
  attributes.input_symbols = strings(model, @"kANEFModelInputSymbolsArrayKey");
  attributes.output_symbols = strings(model, @"kANEFModelOutputSymbolsArrayKey");
  // Absent in dumps of programs with a single procedure.
  id ids = [model objectForKey:@"ProcedureNameToIDMap"];
  if ([ids isKindOfClass:[NSDictionary class]]) {
    for (NSString* name in ids) {
      attributes.procedure_ids[text(name)] = static_cast<std::size_t>(integer(ids, name));
    }
  }
  NSString* const status_key = @"NetworkStatusList";
  NSArray* status = get<NSArray>(dictionary, status_key, "an array");
  for (NSUInteger i = 0; i < [status count]; ++i) {
    NSDictionary* procedure = dictionary_at(status, i, status_key);
    attributes.procedures.push_back(
        {tensors(procedure, @"LiveInputList"), tensors(procedure, @"LiveOutputList")});
  }
  return attributes;
}

}  // namespace milane::apple
