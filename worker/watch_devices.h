/* worker/watch_devices.h: devices' telemetry for an agent, again and again, in a process of its own: a driver that crashes or
 * hangs when it is asked costs this process alone.
 *
 * The agent sends DEVICES once, those to be watched, and gets DEVICES back with their telemetry: at once, after a
 * second, then every WATCH_NS. No device is opened. It ends when the agent's end of the socket closes.
 */
#ifndef SL_WORKER_WATCH_DEVICES_H
#define SL_WORKER_WATCH_DEVICES_H

/* The exit status. */
int watch_devices(int socket);

#endif
