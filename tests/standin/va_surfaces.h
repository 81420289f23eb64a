/* tests/standin/va_surfaces.h: surfaces, buffers and images of the stand-in VA driver, in plain memory.
 *
 * Shapes:   see va_objects.h. A derived image is the surface's own memory.
 */
#ifndef SL_TESTS_STANDIN_VA_SURFACES_H
#define SL_TESTS_STANDIN_VA_SURFACES_H

#include <va/va_backend.h>

void va_surfaces_fill(struct VADriverVTable *table);

#endif
