/*
 * unit.h: what Relink's bridge and an adapter unit say to each other.
 *
 * A unit is a small shared object that stands between a guest compiled for one V8 and a host with another. It is compiled
 * against the real headers of the host's V8 and loaded beside the bridge of the guest's line. Its undefined v8:: symbols are
 * bound to the host's V8. Pointers to objects of the guest's have the layout of the guest's headers.
 *
 * C99. Nothing here throws. relink_unit_attach is called once per guest, before anything of the guest runs V8.
 */
#ifndef RELINK_UNIT_H_
#define RELINK_UNIT_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RELINK_UNIT_API __attribute__((visibility("default")))

/* What the bridge knows. The functions may be called from any thread. */
typedef struct relink_unit_services {
  uint32_t size;                            /* sizeof(relink_unit_services) */
  void *(*guest_platform)(void *isolate);   /* Node's platform (guest's layout) if the isolate is the guest's, else null */
  void *(*worker_platform)(void);           /* Node's platform if the calling thread is the guest's, else null */
  int (*disposing)(void *isolate);          /* 1 while the calling thread disposes that isolate of the guest's */
  void *(*original)(uint32_t slot);         /* the function in a slot of the host platform's own vtable */
  void (*log)(int level, const char *text); /* as relink_bridge_host.log */
  void (*set_flag)(const char *flag);       /* sets and reports a flag of V8's, unless V8 has frozen them */
  uint64_t (*heap_limit)(void);             /* bytes for old objects that the next isolate may have where V8 has frozen the flag for that; 0: V8's choice */
} relink_unit_services;

/* A function to be put into a slot of the shadow of the host platform's vtable. */
typedef struct relink_unit_hook {
  uint32_t slot;
  void *function;
} relink_unit_hook;

/* Keeps `services`, which live for ever, and fills in at most `capacity` hooks. Returns how many there are; 0: refused. */
RELINK_UNIT_API uint32_t relink_unit_attach(const relink_unit_services *services, relink_unit_hook *hooks,
                                            uint32_t capacity);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* RELINK_UNIT_H_ */
