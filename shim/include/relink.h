/* relink.h: bringing Node into a process that has a V8, and taking it out again.
 *
 * The functions are those of librelink.so, loaded with dlopen() or linked; with LD_PRELOAD and RELINK_* variables none of them is
 * needed. One guest at a time. Any thread may call them, but not one of the guest's, nor one that holds a lock that its
 * script waits for. Nothing is thrown, and no memory changes hands.
 */
#ifndef RELINK_H_
#define RELINK_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the functions answer. */
enum relink_answer {
  RELINK_OK = 0,
  RELINK_NOTHING = 1,    /* there is no guest */
  RELINK_BUSY = 2,       /* there is one already */
  RELINK_TIMEOUT = 3,    /* it has not ended in time: it still runs */
  RELINK_REFUSED = 4,    /* a setting is wrong, or the thread could not be made: see standard error */
  RELINK_STAYS = 5       /* it has ended, but something of it can never end: it stays loaded, see standard error */
};

/* The version of the library; lives for ever. */
const char *relink_version(void);

/* Brings Node in, on a thread of its own. `settings` are the RELINK_* variables of README.md, each "NAME=VALUE", then a
 * null pointer; RELINK_GUEST and RELINK_SCRIPT are needed. Returns at once: OK, BUSY or REFUSED. Why Node could not be brought
 * in is told on standard error and in the report that RELINK_REPORT names. */
int relink_start(const char *const *settings);

/* Waits until the guest has ended by itself, at most so many milliseconds: OK, NOTHING or TIMEOUT. */
int relink_wait(uint32_t timeout_ms);

/* Asks the guest to end if it runs, waits for that at most so many milliseconds, and takes it out of the process: its slots, the
 * host's platform and every library that came with it are as before. OK, NOTHING, TIMEOUT or STAYS. After OK another
 * may be started. */
int relink_unload(uint32_t timeout_ms);

#ifdef __cplusplus
}
#endif

#endif /* RELINK_H_ */
