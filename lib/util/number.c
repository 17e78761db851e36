/* Numbers as text in the C locale, set for the calling thread alone and only for the one call. */
#include "util/number.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

/* (locale_t)0 when the system gives none; then nothing has changed. */
static locale_t enter_c_locale(locale_t *old)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain != (locale_t)0)
        *old = uselocale(plain);
    return plain;
}

static void leave_c_locale(locale_t plain, locale_t old)
{
    if (plain == (locale_t)0)
        return;
    uselocale(old);
    freelocale(plain);
}

void mo_text_double(double value, int digits, char text[MO_NUMBER_TEXT])
{
    locale_t old = (locale_t)0, plain = enter_c_locale(&old);
    for (int tried = digits > 0 ? digits : 6; tried <= 17; tried++) {
        snprintf(text, MO_NUMBER_TEXT, "%.*g", tried, value);
        if (digits > 0 || strtod(text, NULL) == value)
            break;
    }
    leave_c_locale(plain, old);
}

int mo_read_double(const char *text, double *value)
{
    locale_t old = (locale_t)0, plain = enter_c_locale(&old);
    char *end;
    const double number = strtod(text, &end);
    leave_c_locale(plain, old);
    if (end == text || *end != '\0')
        return 0;
    *value = number;
    return 1;
}

moco_status_t mo_parse_double(const char *text, double low, double high, double *value)
{
    double number;
    if (!mo_read_double(text, &number) || !(number >= low && number <= high))
        return MOCO_ERR_FORMAT;
    *value = number;
    return MOCO_OK;
}
