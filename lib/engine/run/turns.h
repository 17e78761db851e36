/* Whose turn it is on the lanes of a device: embeddings, or training and all other work. Both get
 * the share of lane time that the device's options say, counted while both have work. Arithmetic
 * alone: times come from outside, and the lock of the device is held. */
#ifndef MO_ENGINE_TURNS_H
#define MO_ENGINE_TURNS_H

#include <stdint.h>

typedef enum mo_class { MO_TRAINING, MO_EMBEDDING } mo_class_t; /* MO_TRAINING: and all other work */

typedef struct mo_turns {
    int64_t percent; /* of lane time that is training's          */
    int64_t credit;  /* nanoseconds of lane time, see turns.c     */
    int64_t owed;    /* to training: nanoseconds times per cent   */
    int64_t left;    /* when training last had nothing more to do */
    int64_t spent[2];
} mo_turns_t;

void mo_turns_begin(mo_turns_t *turns, int32_t percent, int32_t lanes);
/* A lane has spent `ns` on one class; during the last `contested` of them parts of the other class
 * waited for a lane. */
void mo_turns_charge(mo_turns_t *turns, mo_class_t spender, int64_t ns, int64_t contested);
/* Both classes have parts that wait: whose is the lane? */
mo_class_t mo_turns_next(const mo_turns_t *turns);
/* Embeddings alone wait: nanoseconds that a lane should stay free because training, which is owed
 * lane time, is between two pieces of its work and comes back at once; 0 = go ahead. */
int64_t mo_turns_hold(const mo_turns_t *turns, int64_t now);

#endif
