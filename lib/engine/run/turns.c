/* The fair share. `owed` is a balance: an embedding's time on a lane adds percent to it for each
 * nanosecond, other work takes 100 - percent off, so that it stays where it is when the shares are
 * kept. Training's turn comes while it is above zero. As only one part after the other is added, a
 * class never waits longer than the other needs to catch up with what ran on the lanes before.
 *
 * While one class has nothing that waits, the balance would run away, and the class would have all
 * lanes to itself for as long when it comes back. So it stops at a credit: up to that much lane
 * time each may take at once after a pause. */
#include "engine/run/turns.h"

#define CREDIT_NS ((int64_t)100000000) /* a lane */
#define HOLD_NS ((int64_t)2000000)     /* a step queues its next piece of work within microseconds */

void mo_turns_begin(mo_turns_t *turns, int32_t percent, int32_t lanes)
{
    *turns = (mo_turns_t){.percent = percent, .credit = CREDIT_NS * lanes, .left = -HOLD_NS};
}

/* `step` is added to the balance, but takes it no further from zero than `limit`. */
static int64_t towards(int64_t owed, int64_t step, int64_t limit)
{
    const int64_t sum = owed + step;
    if (step > 0)
        return sum <= limit ? sum : owed > limit ? owed : limit;
    return sum >= limit ? sum : owed < limit ? owed : limit;
}

void mo_turns_charge(mo_turns_t *turns, mo_class_t spender, int64_t ns, int64_t contested)
{
    const int64_t other = 100 - turns->percent;
    const int64_t weight = spender == MO_EMBEDDING ? turns->percent : -other;
    const int64_t limit = turns->credit * (spender == MO_EMBEDDING ? other : -turns->percent);
    turns->spent[spender] += ns;
    turns->owed = towards(turns->owed, weight * (ns - contested), limit) + weight * contested;
}

mo_class_t mo_turns_next(const mo_turns_t *turns)
{
    return turns->percent == 100 || turns->owed > 0 ? MO_TRAINING : MO_EMBEDDING;
}

int64_t mo_turns_hold(const mo_turns_t *turns, int64_t now)
{
    const int64_t wait = turns->left + HOLD_NS - now;
    return mo_turns_next(turns) == MO_TRAINING && wait > 0 ? wait : 0;
}
