// channel.h: what scripts of the guest and the host say to each other, through Node-API alone.
#ifndef RELINK_CHANNEL_H_
#define RELINK_CHANNEL_H_

#include <string>

#include "internal.h"

namespace relink {
namespace channel {

// Offers the channel to the environment's scripts as process._linkedBinding('relink'). With `shared` they are in an isolate of the
// host's.
void offer(node::Environment* env, const relink_bridge_channel& channel, const relink_bridge_shared* shared);

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

}  // namespace channel
}  // namespace relink

#endif  // RELINK_CHANNEL_H_
