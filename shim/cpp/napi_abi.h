// napi_abi.h: the part of Node-API (js_native_api.h, node_api.h) that the bridge uses, declared by hand.
//
// C linkage, one promise for all lines. check/napi_abi_check.cc compares it with the real headers of each.
#ifndef RELINK_NAPI_ABI_H_
#define RELINK_NAPI_ABI_H_

#include <cstddef>
#include <cstdint>

struct napi_env__;
struct napi_value__;
struct napi_ref__;
struct napi_handle_scope__;
struct napi_callback_info__;
struct napi_async_context__;
struct napi_threadsafe_function__;

using napi_env = napi_env__*;
// What functions take that need no scripts.
#if RELINK_NODE >= 22
using node_api_basic_env = napi_env;
#else
using node_api_basic_env = const napi_env__*;
#endif
using napi_value = napi_value__*;
using napi_ref = napi_ref__*;
using napi_handle_scope = napi_handle_scope__*;
using napi_callback_info = napi_callback_info__*;
using napi_async_context = napi_async_context__*;
using napi_threadsafe_function = napi_threadsafe_function__*;

// js_native_api_types.h: only whether it is napi_ok matters here; int has its size.
enum napi_status { napi_ok = 0, napi_generic_failure = 9, napi_pending_exception = 10 };

// node_api_types.h
enum napi_threadsafe_function_call_mode { napi_tsfn_nonblocking, napi_tsfn_blocking };

using napi_callback = napi_value (*)(napi_env env, napi_callback_info info);
using napi_finalize = void (*)(napi_env env, void* data, void* hint);
using napi_addon_register_func = napi_value (*)(napi_env env, napi_value exports);
using napi_threadsafe_function_call_js = void (*)(napi_env env, napi_value callback, void* context, void* data);
using napi_cleanup_hook = void (*)(void* argument);

// node_api.h
struct napi_module {
  int nm_version;
  unsigned int nm_flags;
  const char* nm_filename;
  napi_addon_register_func nm_register_func;
  const char* nm_modname;
  void* nm_priv;
  void* reserved[4];
};

extern "C" {
napi_status napi_get_global(napi_env env, napi_value* result);
napi_status napi_get_undefined(napi_env env, napi_value* result);
napi_status napi_create_double(napi_env env, double value, napi_value* result);
napi_status napi_get_value_double(napi_env env, napi_value value, double* result);
napi_status napi_create_string_utf8(napi_env env, const char* text, size_t length, napi_value* result);
napi_status napi_get_value_string_utf8(napi_env env, napi_value value, char* buffer, size_t size, size_t* result);
napi_status napi_create_function(napi_env env, const char* name, size_t length, napi_callback callback, void* data,
                                 napi_value* result);
napi_status napi_set_named_property(napi_env env, napi_value object, const char* name, napi_value value);
napi_status napi_get_cb_info(napi_env env, napi_callback_info info, size_t* argc, napi_value* argv, napi_value* self,
                             void** data);
napi_status napi_create_reference(napi_env env, napi_value value, uint32_t count, napi_ref* result);
napi_status napi_get_reference_value(napi_env env, napi_ref reference, napi_value* result);
napi_status napi_open_handle_scope(napi_env env, napi_handle_scope* result);
napi_status napi_close_handle_scope(napi_env env, napi_handle_scope scope);
napi_status napi_call_function(napi_env env, napi_value receiver, napi_value function, size_t argc,
                               const napi_value* argv, napi_value* result);
napi_status napi_make_callback(napi_env env, napi_async_context context, napi_value receiver, napi_value function,
                               size_t argc, const napi_value* argv, napi_value* result);
napi_status napi_throw_error(napi_env env, const char* code, const char* message);
napi_status napi_get_and_clear_last_exception(napi_env env, napi_value* result);
napi_status napi_add_env_cleanup_hook(node_api_basic_env env, napi_cleanup_hook hook, void* argument);
napi_status napi_create_threadsafe_function(napi_env env, napi_value function, napi_value resource, napi_value name,
                                            size_t max_queue_size, size_t threads, void* finalize_data,
                                            napi_finalize finalize, void* context,
                                            napi_threadsafe_function_call_js call, napi_threadsafe_function* result);
napi_status napi_call_threadsafe_function(napi_threadsafe_function function, void* data,
                                          napi_threadsafe_function_call_mode mode);
napi_status napi_unref_threadsafe_function(node_api_basic_env env, napi_threadsafe_function function);
}

namespace node {

class Environment;

// node.h: the module must live as long as the environment.
void AddLinkedBinding(Environment* env, const napi_module& mod);

}  // namespace node

#endif  // RELINK_NAPI_ABI_H_
