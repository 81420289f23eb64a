#include "model/limit_types.h"

void limits_default(struct limits *out)
{
#define LIMIT_DEFAULT(name, kind, least, most, otherwise) out->name = otherwise;
    LIMIT_LIST(LIMIT_DEFAULT)
#undef LIMIT_DEFAULT
}
