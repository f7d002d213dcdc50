// channel.cc: a linked binding named "relink". Its script (the channel's `bootstrap`) calls listen(dispatch) once;
// dispatch(id, name, text) is then called for whatever the host sends, and answers with answer(id, status, text).
// host(name, text) calls a function of the host's and returns its text.
#include "channel.h"

#include <memory>
#include <utility>

#include "instance.h"
#include "shared.h"

namespace relink {

// What the host sends: text for a function of the guest's, or a callback of its own.
struct Channel::Message {
  uint64_t id = 0;
  std::string name, text;
  void (*callback)(void*, int) = nullptr;
  void* context = nullptr;
};

namespace {

thread_local Channel* t_offered = nullptr;  // to the bootstrap that runs next on this thread

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

// The arguments of a call from JavaScript, and the channel that the function is of; what is missing is undefined.
template <size_t count>
struct Arguments {
  napi_value values[count];
  Channel* channel = nullptr;
  Arguments(napi_env env, napi_callback_info info) {
    size_t given = count;
    void* data = nullptr;
    napi_get_cb_info(env, info, &given, values, nullptr, &data);
    channel = static_cast<Channel*>(data);
  }
};

// dispatch() handles every error itself: what is left is the end of the environment, which shows elsewhere.
void forget_exception(napi_env env, napi_status status) {
  napi_value ignored = nullptr;
  if (status == napi_pending_exception) napi_get_and_clear_last_exception(env, &ignored);
}

// What a function of the host's gave.
struct Reply {
  int32_t status = 0;
  std::string text;
};

void give(void* reply, int32_t status, const char* text, size_t length) {
  *static_cast<Reply*>(reply) = Reply{status, std::string(text, length)};
}

napi_value nothing(napi_env, napi_callback_info) { return nullptr; }

}  // namespace

// The arguments of dispatch().
struct Channel::Call {
  napi_value receiver = nullptr, dispatch = nullptr, arguments[3] = {};
  Call(napi_env env, napi_ref function, uint64_t id, const std::string& name, const std::string& text) {
    napi_get_global(env, &receiver);
    napi_get_reference_value(env, function, &dispatch);
    napi_create_double(env, static_cast<double>(id), &arguments[0]);
    arguments[1] = string(env, name);
    arguments[2] = string(env, text);
  }
};

// After a callback of the host's.
void Channel::leave_if_lost() const {
  if (*lost_) escape::leave();
}

void Channel::receive(napi_env env, napi_value, void* context, void* data) {
  auto* channel = static_cast<Channel*>(context);
  std::unique_ptr<Message> message(static_cast<Message*>(data));
  if (message->callback != nullptr) {
    {
      HostScope host;
      message->callback(message->context, env != nullptr);
    }
    return channel->leave_if_lost();
  }
  if (env == nullptr) return;
  Call call(env, channel->dispatch_, message->id, message->name, message->text);
  napi_value ignored = nullptr;
  forget_exception(env, napi_call_function(env, call.receiver, call.dispatch, 3, call.arguments, &ignored));
}

napi_value Channel::answer(napi_env env, napi_callback_info info) {
  Arguments<3> given(env, info);
  const relink_bridge_channel& with = given.channel->with_;
  double id = 0, status = 0;
  napi_get_value_double(env, given.values[0], &id);
  napi_get_value_double(env, given.values[1], &status);
  std::string text = text_of(env, given.values[2]);
  {
    HostScope host;  // somebody of the host's may be told at once
    with.answer(with.ctx, static_cast<uint64_t>(id), static_cast<int32_t>(status), text.data(), text.size());
  }
  given.channel->leave_if_lost();
  return nullptr;
}

napi_value Channel::call_host(napi_env env, napi_callback_info info) {
  Arguments<2> given(env, info);
  const relink_bridge_channel& with = given.channel->with_;
  std::string name = text_of(env, given.values[0]), text = text_of(env, given.values[1]);
  Reply reply;
  {
    HostScope host;
    with.host(with.ctx, name.c_str(), text.c_str(), text.size(), give, &reply);
  }
  given.channel->leave_if_lost();
  if (reply.status == 0) return string(env, reply.text);
  napi_throw_error(env, "ERR_RELINK_HOST", reply.text.c_str());
  return nullptr;
}

// The environment ends. Runs before Node-API's own hook for the inbox, which was registered first.
void Channel::env_ends(void* context) {
  auto* channel = static_cast<Channel*>(context);
  channel->close();
  channel->env_ = nullptr;
  HostScope host;
  channel->with_.closed(channel->with_.ctx);
}

bool Channel::make_inbox(napi_env env, napi_value dispatch, napi_threadsafe_function* inbox) {
  napi_value no_op = nullptr;
  return napi_create_reference(env, dispatch, 1, &dispatch_) == napi_ok &&
         napi_create_function(env, "settle", 6, nothing, nullptr, &no_op) == napi_ok &&
         napi_create_reference(env, no_op, 1, &nothing_) == napi_ok &&
         napi_create_threadsafe_function(env, nullptr, nullptr, string(env, "relink"), 0, 1, nullptr, nullptr, this,
                                         receive, inbox) == napi_ok;
}

napi_value Channel::listen(napi_env env, napi_callback_info info) {
  Arguments<1> given(env, info);
  Channel* channel = given.channel;
  napi_threadsafe_function inbox = nullptr;
  if (!channel->make_inbox(env, given.values[0], &inbox)) return nullptr;
  if ((channel->with_.flags & RELINK_CHANNEL_STAY) == 0) napi_unref_threadsafe_function(env, inbox);
  napi_add_env_cleanup_hook(env, env_ends, channel);
  {
    std::lock_guard<std::mutex> guard(channel->lock_);
    channel->inbox_ = inbox;
  }
  channel->with_.opened(channel->with_.ctx);
  return nullptr;
}

// expose(value): the host's context, where there is one, gets it under the name that the host gave.
napi_value Channel::expose(napi_env env, napi_callback_info info) {
  Arguments<1> given(env, info);
  const relink_bridge_shared* with = given.channel->shared_;
  if (with != nullptr) {
    napi_set_named_property(env, recast<napi_value>(shared::host_context()->Global()), with->name, given.values[0]);
  }
  return nullptr;
}

void Channel::put(napi_env env, napi_value object, const char* name, napi_callback function) {
  napi_value value = nullptr;
  if (napi_create_function(env, name, std::string(name).size(), function, this, &value) == napi_ok) {
    napi_set_named_property(env, object, name, value);
  }
}

// The binding is for the bootstrap alone: who asks for it again, or in a Worker, gets nothing.
napi_value Channel::fill(napi_env env, napi_value exports) {
  Channel* channel = std::exchange(t_offered, nullptr);
  if (channel == nullptr) return exports;
  channel->env_ = env;
  channel->put(env, exports, "listen", listen);
  channel->put(env, exports, "answer", answer);
  channel->put(env, exports, "host", call_host);
  channel->put(env, exports, "expose", expose);
  napi_set_named_property(env, exports, "settings", string(env, channel->with_.settings));
  return exports;
}

bool Channel::hand_over(Message* message) {
  std::unique_ptr<Message> owned(message);
  std::lock_guard<std::mutex> guard(lock_);
  if (inbox_ == nullptr) return false;
  if (napi_call_threadsafe_function(inbox_, message, napi_tsfn_nonblocking) != napi_ok) return false;
  owned.release();  // receive() frees it
  return true;
}

void Channel::offer(node::Environment* env, const bool* lost, const relink_bridge_channel& with,
                    const relink_bridge_shared* shared) {
  // Node keeps a pointer to it.
  static const napi_module module = {1, 0, "relink", fill, "relink", nullptr, {}};
  with_ = with;
  shared_ = shared;
  lost_ = lost;
  dispatch_ = nullptr;
  nothing_ = nullptr;
  env_ = nullptr;
  t_offered = this;
  node::AddLinkedBinding(env, module);
}

void Channel::close() {
  if (t_offered == this) t_offered = nullptr;
  std::lock_guard<std::mutex> guard(lock_);
  inbox_ = nullptr;
}

bool Channel::send(uint64_t id, const char* name, const char* text) {
  return hand_over(new Message{id, name, text, nullptr, nullptr});
}

bool Channel::post(void (*callback)(void* context, int run), void* context) {
  return hand_over(new Message{0, {}, {}, callback, context});
}

void Channel::settle() {
  napi_env env = env_;
  napi_handle_scope scope = nullptr;
  if (env == nullptr || nothing_ == nullptr || napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value receiver = nullptr, function = nullptr, ignored = nullptr;
  napi_get_global(env, &receiver);
  napi_get_reference_value(env, nothing_, &function);
  forget_exception(env, napi_make_callback(env, nullptr, receiver, function, 0, nullptr, &ignored));
  napi_close_handle_scope(env, scope);
}

bool Channel::call(uint64_t id, const char* name, const char* text) {
  napi_env env = env_;
  if (env == nullptr || dispatch_ == nullptr) return false;
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
  Call call(env, dispatch_, id, name, text);
  napi_value ignored = nullptr;
  forget_exception(env, napi_make_callback(env, nullptr, call.receiver, call.dispatch, 3, call.arguments, &ignored));
  napi_close_handle_scope(env, scope);
  return true;
}

}  // namespace relink
