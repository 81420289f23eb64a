/* worker/probe_devices.h: tells which devices this machine has, and ends.
 *
 * It runs in a process of its own, so that a driver that crashes takes only this process along.
 */
#ifndef SL_WORKER_PROBE_DEVICES_H
#define SL_WORKER_PROBE_DEVICES_H

/* socket >= 0: a DEVICES frame to the agent; else one JSON document on standard output. The exit status. */
int probe_devices(int socket);

#endif
