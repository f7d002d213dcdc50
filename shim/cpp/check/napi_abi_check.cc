// napi_abi_check.cc: is ../napi_abi.h what js_native_api.h, node_api.h and node.h say? Works as v8_abi_check.cc does.
#include <cstdio>

#ifdef RELINK_REAL
#include <node.h>
#include <node_api.h>
#else
#include "../node_abi.h"
#include "../napi_abi.h"
#endif

#include "symbols.h"

#ifndef RELINK_NUMBERS

using Status = napi_status;
using Env = napi_env;
#if RELINK_NODE >= 22
using BasicEnv = napi_env;
#else
using BasicEnv = const napi_env__*;  // called node_api_nogc_env there
#endif
using Value = napi_value;

TAKE(0, &napi_get_global, Status (*)(Env, Value*));
TAKE(1, &napi_get_undefined, Status (*)(Env, Value*));
TAKE(2, &napi_create_double, Status (*)(Env, double, Value*));
TAKE(3, &napi_get_value_double, Status (*)(Env, Value, double*));
TAKE(4, &napi_create_string_utf8, Status (*)(Env, const char*, size_t, Value*));
TAKE(5, &napi_get_value_string_utf8, Status (*)(Env, Value, char*, size_t, size_t*));
TAKE(6, &napi_create_function, Status (*)(Env, const char*, size_t, napi_callback, void*, Value*));
TAKE(7, &napi_set_named_property, Status (*)(Env, Value, const char*, Value));
TAKE(8, &napi_get_cb_info, Status (*)(Env, napi_callback_info, size_t*, Value*, Value*, void**));
TAKE(9, &napi_create_reference, Status (*)(Env, Value, uint32_t, napi_ref*));
TAKE(10, &napi_get_reference_value, Status (*)(Env, napi_ref, Value*));
TAKE(11, &napi_open_handle_scope, Status (*)(Env, napi_handle_scope*));
TAKE(12, &napi_close_handle_scope, Status (*)(Env, napi_handle_scope));
TAKE(13, &napi_call_function, Status (*)(Env, Value, Value, size_t, const Value*, Value*));
TAKE(14, &napi_make_callback, Status (*)(Env, napi_async_context, Value, Value, size_t, const Value*, Value*));
TAKE(15, &napi_throw_error, Status (*)(Env, const char*, const char*));
TAKE(16, &napi_get_and_clear_last_exception, Status (*)(Env, Value*));
TAKE(17, &napi_add_env_cleanup_hook, Status (*)(BasicEnv, void (*)(void*), void*));
TAKE(18, &napi_create_threadsafe_function,
     Status (*)(Env, Value, Value, Value, size_t, size_t, void*, napi_finalize, void*, napi_threadsafe_function_call_js,
                napi_threadsafe_function*));
TAKE(19, &napi_call_threadsafe_function,
     Status (*)(napi_threadsafe_function, void*, napi_threadsafe_function_call_mode));
TAKE(20, &napi_unref_threadsafe_function, Status (*)(BasicEnv, napi_threadsafe_function));
TAKE(21, &node::AddLinkedBinding, void (*)(node::Environment*, const napi_module&));

#else

namespace {

const relink_check::Number kNumbers[] = {
    SIZE(napi_status),
    SIZE(napi_module),
    relink_check::Number{"nm_filename", offsetof(napi_module, nm_filename)},
    relink_check::Number{"nm_register_func", offsetof(napi_module, nm_register_func)},
    relink_check::Number{"nm_modname", offsetof(napi_module, nm_modname)},
    relink_check::Number{"nm_priv", offsetof(napi_module, nm_priv)},
    VALUE(napi_ok),
    VALUE(napi_generic_failure),
    VALUE(napi_pending_exception),
    VALUE(napi_tsfn_nonblocking),
    VALUE(napi_tsfn_blocking),
};

}  // namespace

int main() {
  for (const relink_check::Number& number : kNumbers) std::printf("%s %llu\n", number.what, (unsigned long long)number.value);
}

#endif
