/* worker/probe_devices.h: tells which devices this machine has, and ends.
 *
 * Each kind of device is asked for in a process of its own (worker/probe_kinds.h); what a driver lacks or does wrong is
 * one line: on the log for an agent, in "notes" of the document for a person.
 */
#ifndef SL_WORKER_PROBE_DEVICES_H
#define SL_WORKER_PROBE_DEVICES_H

/* socket >= 0: a DEVICES frame to the agent; else one JSON document on standard output. The exit status. */
int probe_devices(int socket);

#endif
