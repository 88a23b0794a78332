/* The C interface of Milane: compile MIL programs, evaluate them, exchange data with them.
 *
 * The names and signatures are those of the ane_bridge libraries that drive the Apple Neural Engine
 * from ctypes. Programs run on the engine where there is one, else on the CPU; the environment
 * variable MILANE_BACKEND ("auto", "ane" or "host"), read when the library opens its backend, says
 * otherwise.
 *
 * Sizes are in bytes and those of dense (row-major, unpadded) tensors in the type the program
 * declares: fp16 [1, 64, 1, 10] has 1280. The library pads rows as the backend wants them.
 *
 * Indices count from 0 in the order of declaration: the function's inputs from left to right
 * (states are none), the names of its return list.
 *
 * Errors: no function crashes on NULL, on an index or a size out of range, or on a kernel that was
 * freed. Whatever fails leaves a message in ane_bridge_last_error(), and does nothing else.
 *
 * Threads: any thread may call anything. Calls that use one kernel queue up; threads that share a
 * kernel and each want their own result need a lock of their own around write, eval and read.
 */
#ifndef ANE_BRIDGE_H
#define ANE_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ANE_BRIDGE_API __attribute__((visibility("default")))
#else
#define ANE_BRIDGE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A compiled, loaded program with memory for its inputs and outputs. Compare it with NULL, and hand
 * it back to the library; nothing else. The value of a freed one is not used again. */
typedef struct ANEKernelHandle ANEKernelHandle;

/* ---- Opening ---- */

/* Opens the backend: 0 when there is one, now or since before, else -1. What needs a backend calls
 * this itself. Fails when MILANE_BACKEND names none, or one that is not here. */
ANE_BRIDGE_API int ane_bridge_init(void);

/* "ane" or "host"; "" when none can be opened. Opens it if need be. The text is never freed. */
ANE_BRIDGE_API const char* ane_bridge_backend(void);

/* Why this thread's last call failed, "" when it succeeded. UTF-8 as far as names given by the
 * caller are; several lines; valid until this thread's next call. Calls that cannot fail leave it
 * alone: this one, ane_bridge_get_compile_count, ane_bridge_reset_compile_count and
 * ane_bridge_free_blob. */
ANE_BRIDGE_API const char* ane_bridge_last_error(void);

/* ---- Compiling ----
 *
 * All return a kernel to be freed with ane_bridge_free(), or NULL on failure: text that is no
 * well-formed program (the message has line and column), another number of inputs or outputs than
 * the program has, a size that is not the tensor's, a weight file that is missing or damaged, an
 * operation that the backend lacks, no compile left. Sizes are checked before anything is compiled.
 * The function compiled is `main`, or the only one. Inputs start as zeros. Nothing the caller
 * passes is used after the call.
 */

/* mil_text: mil_len bytes of MIL text, no terminating zero among them.
 * weight_data: weight_len bytes of a weight file, the program's @model_path/weights/weight.bin;
 * NULL or 0 bytes when the program has none.
 * input_sizes, output_sizes: bytes of each input and output, n_inputs and n_outputs of them. */
ANE_BRIDGE_API ANEKernelHandle* ane_bridge_compile(const char* mil_text, size_t mil_len,
                                                   const uint8_t* weight_data, size_t weight_len,
                                                   int n_inputs, const size_t* input_sizes,
                                                   int n_outputs, const size_t* output_sizes);

/* The same with n_weights weight files: their paths as the program writes them
 * ("@model_path/weights/wq.bin"), contents, and sizes in bytes. Fails, too, for a path that is
 * absolute or has a "..", and for one given twice with different contents. */
ANE_BRIDGE_API ANEKernelHandle* ane_bridge_compile_multi_weights(
    const char* mil_text, size_t mil_len, const char** weight_names, const uint8_t** weight_datas,
    const size_t* weight_lens, int n_weights, int n_inputs, const size_t* input_sizes,
    int n_outputs, const size_t* output_sizes);

/* For weights that change without a compile: the function's last n_weights inputs. The program has
 * n_inputs + n_weights inputs, func main(x0, x1, ..., w0, w1, ...), and a single output. */
ANE_BRIDGE_API ANEKernelHandle* ane_bridge_compile_dyn(const char* mil_text, size_t mil_len,
                                                       int n_inputs, const size_t* input_sizes,
                                                       int n_weights, const size_t* weight_sizes,
                                                       size_t output_size);

/* ---- Evaluating ---- */

/* Evaluates the program with the inputs as they are; true on success. After a failure the outputs
 * are not to be relied on. Both names do the same. */
ANE_BRIDGE_API bool ane_bridge_run(ANEKernelHandle* kernel);
ANE_BRIDGE_API bool ane_bridge_eval(ANEKernelHandle* kernel);

/* Copies the first `bytes` bytes of input idx from dense data; what lies behind them stays. Inputs
 * keep their contents from one evaluation to the next. The inputs of ane_bridge_compile_dyn are
 * counted with the weights behind them. Fails, writing nothing, when `bytes` exceeds the tensor. */
ANE_BRIDGE_API void ane_bridge_write_input(ANEKernelHandle* kernel, int idx, const void* data,
                                           size_t bytes);

/* Copies the first `bytes` bytes of output idx to `data`, dense. Fails, leaving `data` as it was,
 * when `bytes` exceeds the tensor. */
ANE_BRIDGE_API void ane_bridge_read_output(ANEKernelHandle* kernel, int idx, void* data,
                                           size_t bytes);

/* ane_bridge_write_input for weight idx of ane_bridge_compile_dyn: the first weight is 0. The data
 * is in the tensor's own type, mostly fp16. */
ANE_BRIDGE_API void ane_bridge_write_weight(ANEKernelHandle* kernel, int idx, const void* fp16_data,
                                            size_t bytes);

/* The same from `count` floats. An fp16 tensor gets them rounded to the nearest half, ties to even
 * (beyond 65504: infinity; NaN stays NaN), an fp32 tensor as they are. Fails for a tensor of
 * another type, and when `count` exceeds the tensor's elements. */
ANE_BRIDGE_API void ane_bridge_write_weight_f32(ANEKernelHandle* kernel, int idx,
                                                const float* fp32_data, size_t count);

/* Copies output src_out_idx of `src` to input dst_in_idx of `dst` (weights of compile_dyn counted
 * behind the inputs), as it is. `src` and `dst` may be one kernel. Fails when the two tensors
 * differ in type or shape. */
ANE_BRIDGE_API void ane_bridge_copy_io(ANEKernelHandle* src, int src_out_idx, ANEKernelHandle* dst,
                                       int dst_in_idx);

/* Asks for real-time scheduling until the matching end; sections nest, and hold for all kernels of
 * the process's copy of this library. Where the device refuses, ane_bridge_last_error() says so,
 * and evaluations go on as before; end it all the same. The CPU grants it, to no effect. */
ANE_BRIDGE_API void ane_bridge_begin_realtime(void);
/* Does nothing without a begin. */
ANE_BRIDGE_API void ane_bridge_end_realtime(void);

/* Frees a kernel, its program and its memory, after the evaluations of it that run in other
 * threads. NULL is fine. Fails for a kernel that was freed before; when the device does not unload
 * the program, that is an error, too, but the kernel is freed. */
ANE_BRIDGE_API void ane_bridge_free(ANEKernelHandle* kernel);

/* ---- Counting compiles ---- */

/* Programs compiled since the start or the last reset; what a cache spares is none. On the engine a
 * compile fails when 119 were counted: reports say that a process gets no further. */
ANE_BRIDGE_API int ane_bridge_get_compile_count(void);
ANE_BRIDGE_API void ane_bridge_reset_compile_count(void);

/* ---- Weight files ---- */

/* A weight file (MIL Blob Storage v2) with one fp16 record: `src`, rows x cols floats in row-major
 * order, rounded to the nearest half. 64 bytes of file header, 64 of the record's (the offset for
 * BLOBFILE is 64), then the data at 128. Stores the file's size in *out_len and returns it, to be
 * freed with ane_bridge_free_blob(); on failure NULL and 0: a NULL argument, a size below 1, no
 * memory. */
ANE_BRIDGE_API uint8_t* ane_bridge_build_weight_blob(const float* src, int rows, int cols,
                                                     size_t* out_len);

/* The same for the transposed matrix: the record holds cols x rows halves. */
ANE_BRIDGE_API uint8_t* ane_bridge_build_weight_blob_transposed(const float* src, int rows,
                                                                int cols, size_t* out_len);

/* Frees a weight file that this library built. NULL is fine. */
ANE_BRIDGE_API void ane_bridge_free_blob(void* ptr);

#ifdef __cplusplus
}
#endif

#endif /* ANE_BRIDGE_H */
