#include "apple/loaded_model.h"

#include "apple/framework_call.h"
#include "apple/read_attributes.h"

namespace milane::apple {

// The order of tmc/apple (ane_facts A.3).
id<ANEClient> LoadedModel::client() {
  if (client_) return client_.get();
  id found = own_client();
  const Class<ANEClient> cls = framework_.client;
  if (!found && answers((id)cls, @selector(sharedPrivateConnection))) {
    found = [cls sharedPrivateConnection];
  }
  if (!found && answers((id)cls, @selector(sharedConnection))) found = [cls sharedConnection];
  if (found) {
    client_ = Own<id>::keep(found);
  } else if (instances_answer("_ANEClient", @selector(initWithRestrictedAccessAllowed:))) {
    id made = [(Class)cls alloc];
    client_ = Own<id>::adopt([made initWithRestrictedAccessAllowed:YES]);
  }
  if (!client_) throw_missing("_ANEClient", "sharedConnection");
  return client_.get();
}

void LoadedModel::set_stats_mask(id model) {
  if (stats_mask_ != 0 && answers(model, @selector(setPerfStatsMask:))) {
    [(id<ANEModel>)model setPerfStatsMask:stats_mask_];
  }
}

void LoadedModel::evaluate_direct(id request, NSDictionary* options) {
  const id<ANEClient> c = client();
  if (!answers(c, @selector(doEvaluateDirectWithModel:options:request:qos:error:))) {
    throw_missing("_ANEClient", "doEvaluateDirectWithModel:options:request:qos:error:");
  }
  check("eval", [&](NSError** e) {
    return [c doEvaluateDirectWithModel:model() options:options request:request qos:qos_ error:e];
  });
}

void LoadedModel::evaluate_realtime(id request, NSDictionary* options) {
  const id<ANEClient> c = client();
  if (!answers(c, @selector(evaluateRealTimeWithModel:options:request:error:))) {
    throw_missing("_ANEClient", "evaluateRealTimeWithModel:options:request:error:");
  }
  check("eval", [&](NSError** e) {
    return [c evaluateRealTimeWithModel:model() options:options request:request error:e];
  });
}

ModelAttributes LoadedModel::attributes() {
  return read_attributes([(id<ANEModel>)model() modelAttributes]);
}

Diagnostics LoadedModel::diagnostics() {
  Diagnostics found;
  const id<ANEModel> inner = model();
  if (answers(inner, @selector(queueDepth))) found.model_queue_depth = [inner queueDepth];
  if (answers(inner, @selector(program))) {
    id program = [inner program];
    if (program) found.program_class = text(NSStringFromClass([program class]));
  }
  return found;
}

}  // namespace milane::apple
