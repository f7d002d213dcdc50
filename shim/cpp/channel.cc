// channel.cc: a linked binding named "relink". Its script (the channel's `bootstrap`) calls listen(dispatch) once;
// dispatch(id, name, text) is then called for whatever the host sends, and answers with answer(id, status, text).
// host(name, text) calls a function of the host's and returns its text.
#include "channel.h"

#include <mutex>
#include <utility>

#include "instance.h"
#include "napi_abi.h"
#include "shared.h"

namespace relink {
namespace channel {
namespace {

// What the host sends: text for a function of the guest's, or a callback of its own.
struct Message {
  uint64_t id = 0;
  std::string name, text;
  void (*callback)(void*, int) = nullptr;
  void* context = nullptr;
};

relink_bridge_channel g_channel;                // of the environment that lives
const relink_bridge_shared* g_shared = nullptr; // likewise; null: it has an isolate of its own
napi_env g_env = nullptr;                       // while scripts can be called; used on their thread only
napi_ref g_dispatch = nullptr;                  // likewise
napi_ref g_nothing = nullptr;                   // a function that does nothing; likewise
std::mutex g_lock;                              // held while g_inbox is used or changed
napi_threadsafe_function g_inbox = nullptr;     // null: nobody listens

std::string text_of(napi_env env, napi_value value) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return {};
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, &text[0], length + 1, &length);
  return text;
}

napi_value string(napi_env env, const char* text, size_t length) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text, length, &value);
  return value;
}

napi_value string(napi_env env, const std::string& text) { return string(env, text.data(), text.size()); }

// The arguments of a call from JavaScript; what is missing is undefined.
template <size_t count>
struct Arguments {
  napi_value values[count];
  Arguments(napi_env env, napi_callback_info info) {
    size_t given = count;
    napi_get_cb_info(env, info, &given, values, nullptr, nullptr);
  }
};

// The arguments of dispatch().
struct Call {
  napi_value receiver = nullptr, dispatch = nullptr, arguments[3] = {};
  Call(napi_env env, uint64_t id, const std::string& name, const std::string& text) {
    napi_get_global(env, &receiver);
    napi_get_reference_value(env, g_dispatch, &dispatch);
    napi_create_double(env, static_cast<double>(id), &arguments[0]);
    arguments[1] = string(env, name);
    arguments[2] = string(env, text);
  }
};

// dispatch() handles every error itself: what is left is the end of the environment, which shows elsewhere.
void forget_exception(napi_env env, napi_status status) {
  napi_value ignored = nullptr;
  if (status == napi_pending_exception) napi_get_and_clear_last_exception(env, &ignored);
}

// On the loop, by Node-API; without an environment when that ends before the message was taken.
void receive(napi_env env, napi_value, void*, void* data) {
  std::unique_ptr<Message> message(static_cast<Message*>(data));
  if (message->callback != nullptr) {
    {
      HostScope host;
      message->callback(message->context, env != nullptr);
    }
    return escape::go_on_leaving();
  }
  if (env == nullptr) return;
  Call call(env, message->id, message->name, message->text);
  napi_value ignored = nullptr;
  forget_exception(env, napi_call_function(env, call.receiver, call.dispatch, 3, call.arguments, &ignored));
}

napi_value answer(napi_env env, napi_callback_info info) {
  Arguments<3> given(env, info);
  double id = 0, status = 0;
  napi_get_value_double(env, given.values[0], &id);
  napi_get_value_double(env, given.values[1], &status);
  std::string text = text_of(env, given.values[2]);
  {
    HostScope host;  // somebody of the host's may be told at once
    g_channel.answer(g_channel.ctx, static_cast<uint64_t>(id), static_cast<int32_t>(status), text.data(), text.size());
  }
  escape::go_on_leaving();
  return nullptr;
}

// What a function of the host's gave.
struct Reply {
  int32_t status = 0;
  std::string text;
};

void give(void* reply, int32_t status, const char* text, size_t length) {
  *static_cast<Reply*>(reply) = Reply{status, std::string(text, length)};
}

napi_value call_host(napi_env env, napi_callback_info info) {
  Arguments<2> given(env, info);
  std::string name = text_of(env, given.values[0]), text = text_of(env, given.values[1]);
  Reply reply;
  {
    HostScope host;
    g_channel.host(g_channel.ctx, name.c_str(), text.c_str(), text.size(), give, &reply);
  }
  escape::go_on_leaving();
  if (reply.status == 0) return string(env, reply.text);
  napi_throw_error(env, "ERR_RELINK_HOST", reply.text.c_str());
  return nullptr;
}

void stop_listening() {
  std::lock_guard<std::mutex> guard(g_lock);
  g_inbox = nullptr;
}

// The environment ends. Runs before Node-API's own hook for the inbox, which was registered first.
void env_ends(void*) {
  stop_listening();
  g_env = nullptr;
  HostScope host;
  g_channel.closed(g_channel.ctx);
}

napi_value nothing(napi_env, napi_callback_info) { return nullptr; }

napi_value listen(napi_env env, napi_callback_info info) {
  Arguments<1> given(env, info);
  napi_threadsafe_function inbox = nullptr;
  napi_value no_op = nullptr;
  bool made = napi_create_reference(env, given.values[0], 1, &g_dispatch) == napi_ok &&
              napi_create_function(env, "settle", 6, nothing, nullptr, &no_op) == napi_ok &&
              napi_create_reference(env, no_op, 1, &g_nothing) == napi_ok &&
              napi_create_threadsafe_function(env, nullptr, nullptr, string(env, "relink"), 0, 1, nullptr, nullptr,
                                              nullptr, receive, &inbox) == napi_ok;
  if (!made) return nullptr;
  if ((g_channel.flags & RELINK_CHANNEL_STAY) == 0) napi_unref_threadsafe_function(env, inbox);
  napi_add_env_cleanup_hook(env, env_ends, nullptr);
  {
    std::lock_guard<std::mutex> guard(g_lock);
    g_inbox = inbox;
  }
  g_channel.opened(g_channel.ctx);
  return nullptr;
}

// expose(value): the host's context, where there is one, gets it under the name that the host gave.
napi_value expose(napi_env env, napi_callback_info info) {
  Arguments<1> given(env, info);
  const relink_bridge_shared* with = g_shared;
  if (with != nullptr) {
    napi_set_named_property(env, recast<napi_value>(shared::host_context()->Global()), with->name, given.values[0]);
  }
  return nullptr;
}

void put(napi_env env, napi_value object, const char* name, napi_callback function) {
  napi_value value = nullptr;
  if (napi_create_function(env, name, std::string(name).size(), function, nullptr, &value) == napi_ok) {
    napi_set_named_property(env, object, name, value);
  }
}

// The binding is for the bootstrap alone: who asks for it again gets nothing.
napi_value fill(napi_env env, napi_value exports) {
  if (g_env != nullptr) return exports;
  g_env = env;
  put(env, exports, "listen", listen);
  put(env, exports, "answer", answer);
  put(env, exports, "host", call_host);
  put(env, exports, "expose", expose);
  napi_set_named_property(env, exports, "settings", string(env, g_channel.settings));
  return exports;
}

// Node keeps a pointer to it.
const napi_module g_module = {1, 0, "relink", fill, "relink", nullptr, {}};

bool hand_over(std::unique_ptr<Message> message) {
  std::lock_guard<std::mutex> guard(g_lock);
  if (g_inbox == nullptr) return false;
  if (napi_call_threadsafe_function(g_inbox, message.get(), napi_tsfn_nonblocking) != napi_ok) return false;
  message.release();  // receive() frees it
  return true;
}

}  // namespace

void offer(node::Environment* env, const relink_bridge_channel& channel, const relink_bridge_shared* shared) {
  g_channel = channel;
  g_shared = shared;
  g_dispatch = nullptr;
  g_nothing = nullptr;
  g_env = nullptr;
  node::AddLinkedBinding(env, g_module);
}

void close() { stop_listening(); }

bool send(uint64_t id, const char* name, const char* text) {
  auto message = std::make_unique<Message>();
  message->id = id;
  message->name = name;
  message->text = text;
  return hand_over(std::move(message));
}

bool post(void (*callback)(void* context, int run), void* context) {
  auto message = std::make_unique<Message>();
  message->callback = callback;
  message->context = context;
  return hand_over(std::move(message));
}

void settle() {
  napi_env env = g_env;
  napi_handle_scope scope = nullptr;
  if (env == nullptr || g_nothing == nullptr || napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value receiver = nullptr, function = nullptr, ignored = nullptr;
  napi_get_global(env, &receiver);
  napi_get_reference_value(env, g_nothing, &function);
  forget_exception(env, napi_make_callback(env, nullptr, receiver, function, 0, nullptr, &ignored));
  napi_close_handle_scope(env, scope);
}

bool call(uint64_t id, const char* name, const char* text) {
  napi_env env = g_env;
  if (env == nullptr || g_dispatch == nullptr) return false;
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
  Call call(env, id, name, text);
  napi_value ignored = nullptr;
  forget_exception(env, napi_make_callback(env, nullptr, call.receiver, call.dispatch, 3, call.arguments, &ignored));
  napi_close_handle_scope(env, scope);
  return true;
}

}  // namespace channel
}  // namespace relink
