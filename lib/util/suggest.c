/* "Did you mean": see suggest.h. Called where a name is found to be unknown; nothing here allocates
 * or fails. */
#include "util/suggest.h"

#include <stdio.h>
#include <string.h>

/* Longer words are never near to anything; the longest option name has about 25 letters. */
enum { LONGEST = 48 };

/* Capital letters and the hyphens of command-line flags are no mistakes that count. */
static char plain(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Letters to insert, delete, replace, or exchange with their neighbour, until one word is the other
 * (optimal string alignment). Row i of the usual table holds the distances of a's first i letters
 * to every beginning of b; the recurrence looks back two rows. */
static int distance(const char *a, const char *b)
{
    int rows[3][LONGEST + 1];
    int n = (int)strlen(a), m = (int)strlen(b);
    for (int j = 0; j <= m; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        const int *above = rows[(i - 1) % 3], *above2 = rows[(i + 1) % 3];
        int *row = rows[i % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int differ = plain(a[i - 1]) != plain(b[j - 1]);
            row[j] = smaller(above[j - 1] + differ, smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && plain(a[i - 1]) == plain(b[j - 2]) && plain(a[i - 2]) == plain(b[j - 1]))
                row[j] = smaller(row[j], above2[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

/* "temp" in "temperature", "lr" in "base_lr": a part of the name that is no slip of the fingers. */
static int contains(const char *name, const char *word)
{
    size_t length = strlen(word);
    if (length < 2)
        return 0;
    for (size_t at = 0; at + length <= strlen(name); at++) {
        size_t same = 0;
        while (same < length && plain(name[at + same]) == plain(word[same]))
            same++;
        if (same == length)
            return 1;
    }
    return 0;
}

static const char *name_at(const char *const *first, size_t stride, size_t i)
{
    return *(const char *const *)((const char *)first + i * stride);
}

const char *mo_nearest(const char *word, const char *const *first, size_t stride, size_t count)
{
    const char *near = NULL, *longer = NULL;
    size_t length = strlen(word);
    /* Words of one or two letters must fit but for capitals; longer ones may have a slip, and one
     * more for every four letters. */
    int best = length >= 3 ? 1 + (int)(length / 4) : 0;
    if (length > LONGEST)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const char *name = name_at(first, stride, i);
        if (name == NULL || strlen(name) > LONGEST)
            continue;
        int d = distance(word, name);
        if (d <= best && (near == NULL || d < best)) {
            best = d;
            near = name;
        }
        if (contains(name, word) && (longer == NULL || strlen(name) < strlen(longer)))
            longer = name;
    }
    return near != NULL ? near : longer;
}

void mo_did_you_mean(const char *word, const char *const *first, size_t stride, size_t count,
                     char text[MO_DID_YOU_MEAN])
{
    const char *near = mo_nearest(word, first, stride, count);
    text[0] = '\0';
    if (near != NULL)
        snprintf(text, MO_DID_YOU_MEAN, "; did you mean '%s'?", near);
}
