// The in-memory route (ane_facts B.1).
#include "apple/framework_call.h"
#include "apple/loaded_model.h"

namespace milane::apple {
namespace {

NSData* data_without_copy(const std::byte* bytes, std::size_t size) {
  if (size == 0) return [NSData data];
  return [NSData dataWithBytesNoCopy:const_cast<std::byte*>(bytes) length:size freeWhenDone:NO];
}

class MemoryModel final : public LoadedModel {
 public:
  MemoryModel(const Framework& framework, std::string text, WeightFiles weights,
              const CompileOptions& options)
      : LoadedModel(framework, options), text_(std::move(text)), weights_(std::move(weights)) {
    descriptor_ = Own<id>::keep(make_descriptor());
    if (!descriptor_) throw nil_error("descriptor", "a descriptor of the program");
    model_ = Own<id<ANEInMemoryModel>>::keep(
        [framework_.memory_model inMemoryModelWithDescriptor:descriptor_.get()]);
    if (!model_) throw nil_error("descriptor", "an in-memory model");
    // The compiler reads files, not the descriptor's data.
    folder_ = StagingFolder::lease(folder_path(), program_files(text_, weights_));
    set_masks();
  }

  bool is_compiled() override {
    return answers(model_.get(), @selector(compiledModelExists)) &&
           [model_.get() compiledModelExists];
  }
  void purge() override {
    if (answers(model_.get(), @selector(purgeCompiledModel))) [model_.get() purgeCompiledModel];
  }
  void compile() override {
    check("compile",
          [&](NSError** e) { return [model_.get() compileWithQoS:qos_ options:@{} error:e]; });
    set_masks();
  }
  void load() override {
    check("load", [&](NSError** e) { return [model_.get() loadWithQoS:qos_ options:@{} error:e]; });
    set_masks();
  }
  void unload() override {
    check("unload", [&](NSError** e) { return [model_.get() unloadWithQoS:qos_ error:e]; });
  }
  id model() override { return [model_.get() model]; }

  void evaluate(id request, NSDictionary* options) override {
    check("eval", [&](NSError** e) {
      return [model_.get() evaluateWithQoS:qos_ options:options request:request error:e];
    });
  }
  bool map(id request) override {
    const id<ANEInMemoryModel> m = model_.get();
    if (!answers(m, @selector(mapIOSurfacesWithRequest:cacheInference:error:)) ||
        !answers(m, @selector(unmapIOSurfacesWithRequest:))) {
      return false;
    }
    if ([m mapIOSurfacesWithRequest:request cacheInference:YES error:NULL]) return true;
    check("map", [&](NSError** e) {
      return [m mapIOSurfacesWithRequest:request cacheInference:NO error:e];
    });
    return true;
  }
  void unmap(id request) override { [model_.get() unmapIOSurfacesWithRequest:request]; }
  bool takes_events() const override { return false; }

  // With several weight files it is not known which of them `data` would be.
  bool adopt_compiled(LoadedModel& other) override {
    auto* donor = dynamic_cast<MemoryModel*>(&other);
    if (!donor || donor->text_ != text_ || weights_.size() != 1) return false;
    NSData* plan = [NSData dataWithContentsOfFile:ns(donor->folder_->path() + "/net.plist")];
    if (!plan) return false;
    write_staged(folder_->path(),
                 {"net.plist", static_cast<const std::byte*>([plan bytes]), [plan length]});
    const auto blob = weights_.begin()->second->bytes();
    write_staged(folder_->path(), {"data", blob.data(), blob.size()});
    return true;
  }

 private:
  id make_descriptor() {
    NSMutableDictionary* files = [NSMutableDictionary dictionary];
    for (const auto& [key, file] : weights_) {
      NSData* data = data_without_copy(file->bytes().data(), file->bytes().size());
      [files setObject:@{@"offset" : @0, @"data" : data} forKey:ns(key)];
    }
    NSData* text =
        data_without_copy(reinterpret_cast<const std::byte*>(text_.data()), text_.size());
    return [framework_.descriptor modelWithMILText:text weights:files optionsPlist:nil];
  }

  std::string folder_path() {
    NSString* path = nil;
    if (answers(model_.get(), @selector(localModelPath))) path = [model_.get() localModelPath];
    if ([path length] == 0) {
      NSString* identifier = [model_.get() hexStringIdentifier];
      if ([identifier length] == 0) throw nil_error("descriptor", "the program's identifier");
      path = [NSTemporaryDirectory() stringByAppendingPathComponent:identifier];
    }
    return text(path);
  }

  void set_masks() {
    set_stats_mask(model_.get());
    set_stats_mask(model());
  }
  id own_client() override {
    return answers(model_.get(), @selector(sharedConnection)) ? [model_.get() sharedConnection]
                                                              : nil;
  }

  // What the framework's objects point into: it is destroyed after them.
  const std::string text_;
  const WeightFiles weights_;
  std::shared_ptr<StagingFolder> folder_;
  Own<id> descriptor_;
  Own<id<ANEInMemoryModel>> model_;
};

}  // namespace

std::unique_ptr<LoadedModel> make_memory_model(const Framework& framework, std::string text,
                                               WeightFiles weights, const CompileOptions& options) {
  return std::make_unique<MemoryModel>(framework, std::move(text), std::move(weights), options);
}

}  // namespace milane::apple
