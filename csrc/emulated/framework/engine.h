// Between the Objective-C classes and the C++ that does their work. No exception passes through.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emulated/control/control.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  kSucceeded,
#define MILANE_FAILURE(id, domain, code, text) id,
#include "emulated/framework/failures.def"
#undef MILANE_FAILURE
} MilaneFailure;

enum { kMaxSurfaces = 128, kQueueDepth = 127 };  // ane_facts D 13, C.8

// Bytes as 64 hex digits: the looks of SHA-256, at memory speed, and for no other purpose.
enum { kDigestText = 65 };
typedef struct {
  uint64_t lanes[4];
  uint64_t length;
} MilaneDigest;
void milane_digest_start(MilaneDigest* digest);
void milane_digest_add(MilaneDigest* digest, const void* bytes, size_t count);
void milane_digest_text(const MilaneDigest* digest, char text[kDigestText]);

// The identity of the model in a folder: of model.mil and all it refers to. Empty without one.
void milane_folder_identity(const char* folder, char text[kDigestText]);

// Compiles a folder's model.mil into the cache. With `stage`, net.plist and data are written there.
MilaneFailure milane_compile(const char* folder, const char* identity, bool stage);
bool milane_compiled_exists(const char* identity);
void milane_purge(const char* identity);
MILANE_EXPORT void milane_emulated_reset(void);  // forgets every compiled program

// A loaded program; it lives as long as its holder, and runs until it is unloaded.
typedef struct MilaneProgram MilaneProgram;
// From the cache, else from a folder that has net.plist, data and model.mil (ane_facts G.1).
MilaneFailure milane_load(const char* folder, const char* identity, MilaneProgram** program);
bool milane_unload(MilaneProgram* program);  // false when it was not loaded
void milane_program_free(MilaneProgram* program);

uint64_t milane_program_handle(const MilaneProgram* program);
long milane_program_in_flight(const MilaneProgram* program, bool asynchronous);
// After an evaluation with shared events the framework's unload crashes (ane_facts A.8).
bool milane_program_crashes_at_unload(const MilaneProgram* program);

// What a program tells of itself. Pointers live as long as the program.
typedef struct {
  const char *name, *type;  // "y@output", "Float16"
  uint32_t symbol;
  int64_t batches, channels, depth, height, width;
  int64_t batch_stride, depth_stride, plane_stride, row_stride;
  int64_t element;
} MilaneTensor;
size_t milane_program_procedures(const MilaneProgram* program);
const char* milane_program_procedure(const MilaneProgram* program, size_t procedure);
size_t milane_program_symbols(const MilaneProgram* program, bool outputs);
const char* milane_program_symbol(const MilaneProgram* program, bool outputs, size_t symbol);
size_t milane_program_tensors(const MilaneProgram* program, size_t procedure, bool outputs);
MilaneTensor milane_program_tensor(const MilaneProgram* program, size_t procedure, bool outputs,
                                   size_t tensor);

// A request as the device sees it, and what was prepared for it, per program.
typedef struct {
  void* memory;
  size_t bytes;
  uint32_t symbol;
} MilaneSurface;
typedef struct {
  const MilaneSurface *inputs, *outputs;
  size_t input_count, output_count;
  uint32_t procedure;
} MilaneRequest;
typedef struct MilaneBindings MilaneBindings;
MilaneBindings* milane_bindings_create(void);
void milane_bindings_free(MilaneBindings* bindings);

// `model` stands for the mapping: unmapping works without the program.
MilaneFailure milane_map(MilaneProgram* program, const void* model, const MilaneRequest* request,
                         MilaneBindings* bindings, bool cache);
void milane_unmap(const void* model, MilaneBindings* bindings);

// A place in the program's queue; waits for one.
void milane_queue_enter(MilaneProgram* program, bool asynchronous);
void milane_queue_leave(MilaneProgram* program, bool asynchronous);
MilaneFailure milane_evaluate(MilaneProgram* program, const MilaneRequest* request,
                              MilaneBindings* bindings, bool events);

// Runs work(context) soon, on a thread that Foundation has not seen before.
void milane_run_later(void (*work)(void*), void* context);

#ifdef __cplusplus
}
#endif
