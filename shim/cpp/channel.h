// channel.h: what scripts of one environment and the host say to each other, through Node-API alone.
#ifndef RELINK_CHANNEL_H_
#define RELINK_CHANNEL_H_

#include <mutex>
#include <string>

#include "internal.h"
#include "napi_abi.h"

namespace relink {

class Channel {
 public:
  Channel() = default;
  Channel(const Channel&) = delete;
  void operator=(const Channel&) = delete;

  // Offers the channel to the environment's scripts as process._linkedBinding('relink'): to the first that asks on this thread, which
  // is the bootstrap. With `shared` they are in an isolate of the host's.
  void offer(node::Environment* env, const bool* lost, const relink_bridge_channel& with,
             const relink_bridge_shared* shared);

  // Calls a function that does nothing, as Node's own callbacks are called: what was put off until after one is done then.
  void settle();

  // From here on nothing is taken any more. Scripts may still answer.
  void close();

  // Hands text for the function of this name over, to be called on the guest's loop. Any thread. False: nobody listens.
  bool send(uint64_t id, const char* name, const char* text);

  // The same for a callback of the host's.
  bool post(void (*callback)(void* context, int run), void* context);

  // Calls at once. On the environment's thread and inside of it. False: nobody listens.
  bool call(uint64_t id, const char* name, const char* text);

 private:
  struct Message;
  struct Call;
  // Functions for the bootstrap.
  static napi_value fill(napi_env env, napi_value exports);
  static napi_value listen(napi_env env, napi_callback_info info);
  static napi_value answer(napi_env env, napi_callback_info info);
  static napi_value call_host(napi_env env, napi_callback_info info);
  static napi_value expose(napi_env env, napi_callback_info info);
  // On the loop, by Node-API; without an environment when that ends before the message was taken.
  static void receive(napi_env env, napi_value, void* channel, void* message);
  static void env_ends(void* channel);
  bool make_inbox(napi_env env, napi_value dispatch, napi_threadsafe_function* inbox);
  bool hand_over(Message* message);
  void put(napi_env env, napi_value object, const char* name, napi_callback function);
  void leave_if_lost() const;

  relink_bridge_channel with_ = {};
  const relink_bridge_shared* shared_ = nullptr;  // null: it has an isolate of its own
  const bool* lost_ = nullptr;                    // whether frames of its environment may be returned to no more
  napi_env env_ = nullptr;                        // while scripts can be called; used on their thread only
  napi_ref dispatch_ = nullptr;                   // likewise
  napi_ref nothing_ = nullptr;                    // a function that does nothing; likewise
  std::mutex lock_;                               // held while inbox_ is used or changed
  napi_threadsafe_function inbox_ = nullptr;      // null: nobody listens
};

}  // namespace relink

#endif  // RELINK_CHANNEL_H_
