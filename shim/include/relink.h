/* relink.h: bring Node into a process that has a V8, talk to it, and take it out again.
 *
 * librelink.so has these functions. Load it with dlopen() or link it (relink.pc). With LD_PRELOAD and RELINK_* variables none of
 * them is needed. C99, no other header. The functions throw nothing. A function of the host's that Relink calls back must not
 * throw or jump out either. docs/EMBEDDING.md has the rules and examples.
 *
 * Threads. Each function says which thread may call it. "Any" means any thread of the host's, at any time, unless it holds a lock
 * that the guest's scripts wait for. The guest's thread is the one that Node runs on: a thread of its own, or the host's thread
 * that ticks it. Callbacks and functions of the host's are called there. A handler of a signal may call no function.
 *
 * Moments. In a process that was forked after a runtime was created, every function answers FORKED at once. Create runtimes after
 * fork() or daemon(). While a library is loaded or unloaded (in its constructors and destructors), threads can neither start nor end.
 * There relink_create() answers REFUSED (E0212). relink_stop(), relink_join() and relink_destroy() answer TIMEOUT at once, and
 * nothing of the host's is called after that.
 *
 * Strings are UTF-8 and end with a NUL. Relink copies strings that it gets. A string that comes out as `char **` belongs to the
 * caller, who gives it back to relink_free(). Pass a null pointer if the string is not wanted.
 */
#ifndef RELINK_H_
#define RELINK_H_

#ifdef __cplusplus
extern "C" {
#endif

/* What the functions answer. A number never changes its meaning. */
enum relink_answer {
  RELINK_OK = 0,
  RELINK_NOTHING = 1,      /* there is no such guest (any more) */
  RELINK_BUSY = 2,         /* called from within a script of this runtime; relink_start(): there is one already */
  RELINK_TIMEOUT = 3,      /* not in time; what was asked for may still happen */
  RELINK_REFUSED = 4,      /* it cannot be brought in; relink_last_error() says why */
  RELINK_STAYS = 5,        /* it has ended, but something of it can never end: it stays loaded */
  RELINK_ARGUMENT = 6,     /* a null pointer, a wrong size, a text that is not JSON or not UTF-8 */
  RELINK_ENDED = 7,        /* Node has ended, or is about to */
  RELINK_THREW = 8,        /* the script threw or rejected: the result has name, message, code and stack */
  RELINK_UNKNOWN = 9,      /* no function of that name */
  RELINK_WRONG_THREAD = 10,/* not on this thread; or: the answer could never come while this thread waits for it */
  RELINK_INTERNAL = 11,    /* an error of Relink's own code */
  RELINK_FORKED = 12       /* this process was forked from the one that Node is in. Every function answers so there, at once */
};

/* The version of the library. The string lives for ever. Any thread. */
const char *relink_version(void);

/* Why the last function that this thread called did not answer OK, or "". The string lives until the thread's next call. */
const char *relink_last_error(void);

/* Gives a string back to Relink. Null is allowed. Any thread. */
void relink_free(char *text);

/* ------------------------------------------------------------------------------------------------------------------------
 * A guest that the host talks to
 *
 * Several runtimes can run side by side. Each has an isolate, an event loop, scripts, functions of the host's and an end of its
 * own. What one does, and how it ends, does not affect the others.
 *
 * They share one libnode and what Node has once per process. So guest, node_args, cwd and provider are those of the first runtime
 * while any runtime exists; relink_create() refuses others. All runtimes also share the process's title, working directory, umask and
 * users; one copy of its environment (but for `env`); V8's flags; libuv's thread pool; and OpenSSL's configuration. A signal that a
 * script sends to this process reaches each runtime that has a handler for it. EMBEDDING.md lists the rest.
 *
 * A runtime whose `how` is "abort" is lost. The others go on, but no new one can come.
 */

/* A handle. Relink never dereferences it. A handle that is no longer valid is answered with NOTHING. */
typedef struct relink_runtime relink_runtime;

enum relink_mode {
  RELINK_OWN_THREAD = 0,   /* Node has a thread of its own; the host does nothing */
  RELINK_TICKED = 1,       /* Node runs on the thread that creates it, while that calls relink_tick() */
  RELINK_SHARED = 2        /* as ticked, in an isolate of the host's: its scripts and Node's exchange objects */
};

/* Bits of relink_options.flags. */
enum relink_flag {
  RELINK_STAY = 1          /* Node stays when its script has nothing more to do. Without a script it always does */
};

/* Set `size` and the fields that are wanted, and all others to 0. A list ends with a null pointer, and may be null itself. */
typedef struct relink_options {
  unsigned int size;              /* sizeof(relink_options); that of an earlier version is accepted */
  unsigned int mode;              /* enum relink_mode */
  const char *guest;              /* path of the libnode to bring in; required */
  const char *script;             /* Node's main script; may be null */
  const char *const *args;        /* its arguments */
  const char *const *node_args;   /* Node's own options, for example "--no-warnings" */
  const char *const *env;         /* "NAME=VALUE": what process.env has besides the copy of the host's environment; may be null */
  const char *cwd;                /* working directory of the guest alone; own thread only */
  const char *const *disallow;    /* what scripts may not do: "child_process", "addons", "inspector" */
  const char *provider;           /* part of the path of the module whose V8 is meant, if there are several */
  const char *report;             /* path of a file for the report, written when Node has ended */
  unsigned int max_heap_mib;      /* Node is stopped before its JavaScript heap grows beyond this, in MiB; 0: V8's own limit. It holds for
                                     Workers that start before another runtime is created; others take resourceLimits */
  unsigned int wait_ms;           /* how long to wait for the host's V8 to be initialised, in milliseconds; 0: not at all */
  unsigned int flags;             /* RELINK_STAY */
  unsigned int reserved;          /* 0 */
  /* The first version ends here. */
  void *isolate;                  /* shared only: the v8::Isolate * */
  const void *context;            /* shared only: a v8::Local<v8::Context> *, the context of the scripts that use Node */
  const char *expose;             /* shared only: name of the property { require, process, global } on that context's global object */
  /* The second version ends here. */
  unsigned int script_deadline_ms;/* ticked and shared, in milliseconds; 0: none. Limits each tick, each call on the guest's thread, and the
                                     main script in relink_create(). What takes longer is interrupted, and the runtime ends ("deadline"
                                     in its report). Time in functions of the host's counts */
  unsigned int stack_kib;         /* in KiB, 192 to 1048576. Own thread: the size of its stack; 0: 8192. Ticked: how much of the stack
                                     below the caller scripts may use; 0: Relink finds it out. Set it for stacks whose end cannot be
                                     seen (from malloc, without a guard page) */
} relink_options;

/* Shared mode. Only the thread that created the guest may call its functions, be it relink_tick() or a script's require(). It must
 * have locked (if the host uses lockers at all) and entered the isolate; else WRONG_THREAD. Node has a context of its own there. The
 * isolate's settings stay the host's: microtask policy, callbacks, limits, inspector. Node's objects stay usable until the guest is
 * destroyed, also when Node has ended. Destroy the guest when no script of the isolate will run any more, and before the isolate is
 * disposed of. The answer is then STAYS, because heaps refer to the guest's code. EMBEDDING.md has the rest. */

/* Says whether Node could be brought in, and changes nothing. Answers OK or REFUSED. The result is the report so far (JSON), whatever
 * the answer. Any thread. */
int relink_probe(const relink_options *options, char **result);

/* Brings Node in and returns when it can be talked to. By then its script may not have run yet (own thread), or has run up to its
 * first wait (ticked). Answers OK, ARGUMENT, REFUSED (also if it cannot run beside the runtimes that exist), WRONG_THREAD. Any thread,
 * also from within a script of another runtime. In ticked mode the calling thread becomes the guest's; it must be a thread of the
 * host's (else WRONG_THREAD). One thread may tick several runtimes, also one from within another. A stack that scripts cannot run on
 * is REFUSED, here and by every function that enters a ticked guest. When the thread that ticks a runtime ends, the runtime ends, and
 * any thread may destroy it. */
int relink_create(const relink_options *options, relink_runtime **runtime);

enum relink_kind {
  RELINK_FILE = 0,         /* `what` is the path of a script, CommonJS or ES module */
  RELINK_STRING = 1,       /* `what` is the source of a CommonJS module */
  RELINK_PACKAGE = 2       /* `what` is a package or built-in module, searched for from the working directory */
};

/* Loads a script. From then on its exports can be called as "name.function". The result lists them (JSON). Answers OK, NOTHING,
 * ARGUMENT, TIMEOUT, ENDED, THREW, WRONG_THREAD. Any thread. */
int relink_run(relink_runtime *runtime, int kind, const char *what, const char *name, unsigned int timeout_ms,
               char **result);

/* Calls a function: "name.function" of a script that relink_run() loaded, or of the global object. `args` is a JSON array; null means
 * no arguments. The result is the returned value, or the value that its promise is resolved with, as JSON. Answers OK, NOTHING,
 * ARGUMENT, TIMEOUT, ENDED, THREW, UNKNOWN, WRONG_THREAD. Any thread. On the guest's thread the function is called at once; in ticked
 * mode the guest is then ticked until the promise is settled. Within a script's call of the host a promise cannot be waited for. */
int relink_call(relink_runtime *runtime, const char *function, const char *args, unsigned int timeout_ms, char **result);

/* relink_run() and relink_call() in steps, for a caller that has other work. Returns the number of the call that this thread was just
 * answered TIMEOUT for, or 0. If nobody asks for the number, the thread's next call drops that call. Any thread. */
unsigned long long relink_unanswered(void);

/* Waits again for that call. Answers what relink_call() would have answered, and TIMEOUT as often as the call is late; NOTHING if there
 * is no such call. On the thread that ticks the runtime it ticks meanwhile. Any thread. */
int relink_resume(relink_runtime *runtime, unsigned long long call, unsigned int timeout_ms, char **result);

/* Stops waiting for that call. Answers OK, NOTHING. Any thread. */
int relink_forget(relink_runtime *runtime, unsigned long long call);

/* Called once on the guest's thread, with the answer that relink_call() would have given and its result, which lives for
 * the call. */
typedef void (*relink_done)(void *context, int answer, const char *result);

/* Calls a function and does not wait. Answers OK, NOTHING, ARGUMENT, ENDED. `done` is called once for each OK. Any thread. */
int relink_call_async(relink_runtime *runtime, const char *function, const char *args, relink_done done, void *context);

/* The value that a function of the host's returns to the script. */
typedef struct relink_reply relink_reply;

/* A function of the host's. `args` is a JSON array. Return 0, or anything else to throw an error. Guest's thread. */
typedef int (*relink_function)(void *context, const char *args, relink_reply *reply);

/* Sets the value (JSON) of a function of the host's, or the message of its error. Call it within that function only. */
void relink_reply_set(relink_reply *reply, const char *text);

/* Lets scripts call relink.host.NAME(...). A null function takes it away again. Answers OK, NOTHING, ARGUMENT. Any thread. */
int relink_register(relink_runtime *runtime, const char *name, relink_function function, void *context);

/* Called on the guest's thread: with run = 1 on its event loop, with run = 0 if Node ended before. */
typedef void (*relink_callback)(void *context, int run);

/* Has the callback called on the guest's thread. Answers OK, NOTHING, ARGUMENT, ENDED. Any thread. */
int relink_post(relink_runtime *runtime, relink_callback callback, void *context);

/* Does what is due in the guest and returns. Never waits. The budget is in microseconds. It is checked between rounds of the event
 * loop: only script_deadline_ms cuts a callback short. Answers OK, ENDED, NOTHING, BUSY, WRONG_THREAD. Ticked mode; only the thread
 * that created the guest. */
int relink_tick(relink_runtime *runtime, unsigned long long budget_us);

/* Waits until Node has ended by itself. Answers OK, NOTHING, TIMEOUT; WRONG_THREAD on the guest's thread. */
int relink_join(relink_runtime *runtime, unsigned int timeout_ms);

/* Ends Node, whatever it is doing. Answers OK, NOTHING, TIMEOUT; BUSY from within its scripts. Any thread. A ticked guest that another
 * thread stops ends in its next tick. */
int relink_stop(relink_runtime *runtime, unsigned int timeout_ms);

/* As relink_stop(), for a host whose functions soon cannot be called any more, because its language's run time ends or its library is
 * unloaded. Whatever it answers, none of them is called afterwards. If Node ends in time, calls that wait to be told are told before.
 * A thread that is still in such a function never comes back into the guest, and the guest is lost: TIMEOUT. Answers OK, NOTHING,
 * TIMEOUT, BUSY. Any thread. */
int relink_disconnect(relink_runtime *runtime, unsigned int timeout_ms);

/* The report so far (JSON). Answers OK, NOTHING, ARGUMENT. Any thread. */
int relink_report(relink_runtime *runtime, char **result);

/* Stops Node if it runs, and takes the runtime out of the process. The last runtime takes the guest along: the host's platform is then
 * as before, and every library that came with the guest is unloaded. Answers OK, NOTHING, TIMEOUT, BUSY, STAYS; WRONG_THREAD for a
 * ticked guest elsewhere than on its thread. After OK and STAYS the handle is no longer valid. After the last OK another guest may come.
 * Add-ons stay loaded until then. */
int relink_destroy(relink_runtime *runtime, unsigned int timeout_ms);

/* ------------------------------------------------------------------------------------------------------------------------
 * A guest that just runs a script
 */

/* Brings Node in, on a thread of its own. `settings` are the RELINK_* variables of README.md, each "NAME=VALUE", then a null pointer.
 * RELINK_GUEST and RELINK_SCRIPT are required. Returns at once with OK, BUSY or REFUSED. If Node cannot be brought in, the reason is
 * printed on standard error and stands in the report that RELINK_REPORT names. One such guest at a time, beside runtimes. Any thread. */
int relink_start(const char *const *settings);

/* Waits until that guest has ended by itself, at most so many milliseconds. Answers OK, NOTHING or TIMEOUT. Any thread. */
int relink_wait(unsigned int timeout_ms);

/* Asks that guest to end if it runs, waits for that at most so many milliseconds, and takes it out of the process. Answers OK, NOTHING,
 * TIMEOUT or STAYS. After OK another one may be started. Any thread. */
int relink_unload(unsigned int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif /* RELINK_H_ */
