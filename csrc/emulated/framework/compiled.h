// Compiled programs, and the cache that keeps them beyond the models (ane_facts B.7).
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "emulated/framework/engine.h"
#include "emulated/framework/files.h"

namespace milane::emulated {

// A program that the host engine has compiled, function by function.
struct Compiled {
  std::string text;
  Bytes first_blob;  // null for a program without weights
  std::vector<KernelPtr> procedures;
  std::size_t bytes = 0;  // of its weight files
};
using CompiledPtr = std::shared_ptr<const Compiled>;

// What a compile or load came to. Never throws; the reason goes to milane_set_reason().
struct Outcome {
  MilaneFailure failure = kSucceeded;
  CompiledPtr compiled;
};

// `first_blob`, where given, takes the place of the first weight file's content.
Outcome compile_text(const std::string& text, const std::filesystem::path& folder,
                     Bytes first_blob);

CompiledPtr cached(const std::string& identity);
// Any program of the same text, for the fault reload.stale.
CompiledPtr cached_text(const std::string& text);
void remember(const std::string& identity, CompiledPtr compiled);

}  // namespace milane::emulated
