/* Health of a device.
 *
 * Invariants:
 *  1. A healthy device has no faults counted and no reason.
 *  2. A device in any other state has a reason that names the last fault.
 *  3. Only codes of the failure class "device" count as faults; a full device, bad parameters and bad input say
 *     nothing about it.
 *  4. Quarantine ends by a success alone (a probe that passed), and then with one session at a time (hal_choose).
 *  5. A suspect device has fewer than HAL_FAULTS_MAX faults.
 *
 *   from         on                                        to           by
 *   healthy      fault                                     suspect      hal_health_note
 *   suspect      fault, the HAL_FAULTS_MAX-th              quarantined  hal_health_note
 *   any          device lost, hang, wrong output           quarantined  hal_health_note
 *   suspect      HAL_SUCCESSES_MIN successes in a row      healthy      hal_health_note
 *   quarantined  success                                   proving      hal_health_note
 *   proving      fault                                     quarantined  hal_health_note
 *   proving      HAL_SUCCESSES_MIN successes in a row      healthy      hal_health_note
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "hal/hal.h"

#define HAL_FAULTS_MAX    3
#define HAL_SUCCESSES_MIN 3

static void check(const struct hal_device *device)
{
    assert(device->health != HEALTH_HEALTHY ||
           (device->health_faults == 0 && !device->health_reason[0]));
    assert(device->health == HEALTH_HEALTHY || device->health_reason[0]);
    assert(device->health != HEALTH_SUSPECT || device->health_faults < HAL_FAULTS_MAX);
}

static void note_success(struct hal_device *device)
{
    switch (device->health) {
    case HEALTH_QUARANTINED:
        device->health = HEALTH_PROVING;
        device->health_successes = 0;
        break;
    case HEALTH_SUSPECT:
    case HEALTH_PROVING:
        if (++device->health_successes >= HAL_SUCCESSES_MIN) {
            device->health = HEALTH_HEALTHY;
            device->health_successes = 0;
            device->health_faults = 0;
            device->health_reason[0] = '\0';
        }
        break;
    default:
        break;
    }
}

static void note_fault(struct hal_device *device, int code, const char *detail)
{
    device->health_successes = 0;
    if (device->health_faults < HAL_FAULTS_MAX)
        device->health_faults++;
    snprintf(device->health_reason, sizeof device->health_reason, "%s%s%s", sl_error_word(code),
             detail && detail[0] ? ": " : "", detail ? detail : "");
    /* Of these one is enough: nothing but the device can have done it. */
    bool sure = code == SL_EDEVICELOST || code == SL_EHANG || code == SL_EMISMATCH;
    if (sure || device->health == HEALTH_PROVING || device->health == HEALTH_QUARANTINED ||
        device->health_faults >= HAL_FAULTS_MAX)
        device->health = HEALTH_QUARANTINED;
    else
        device->health = HEALTH_SUSPECT;
}

enum device_health hal_health_note(struct hal_device *device, int code, const char *detail)
{
    if (code == SL_OK)
        note_success(device);
    else if (sl_error_class(code) == SL_CLASS_DEVICE)
        note_fault(device, code, detail);
    check(device);
    return device->health;
}
