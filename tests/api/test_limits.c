/* A host with little of everything: threads with small stacks, few descriptors, little memory. Calls
 * give right results or a status with a reason; nothing crashes, hangs or is left behind. */
#include "api.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "draw.h"

