/* Progress on stderr: see progress.h. A bar is redrawn a few times a second and never longer than
 * the terminal is wide; plain lines come every few seconds and at epoch ends. */
#include "progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common.h"

#define BAR_SECONDS 0.2
#define LINE_SECONDS 10.0

void progress_start(progress_t *progress, const char *verb, int32_t epochs)
{
    memset(progress, 0, sizeof *progress);
    progress->verb = verb;
    progress->epochs = epochs;
    progress->terminal = isatty(STDERR_FILENO);
    progress->started = seconds_now();
    progress->last_shown = progress->started;
}

void progress_clear(progress_t *progress)
{
    if (progress->bar_shown)
        fputs("\r\033[K", stderr);
    progress->bar_shown = 0;
}

static int terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

static char *duration(double seconds, char text[24])
{
    const long long s = seconds > 0 && seconds < 1e9 ? (long long)(seconds + 0.5) : 0;

    if (s >= 3600)
        snprintf(text, 24, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 24, "%lld:%02lld", s / 60, s % 60);
    return text;
}

static void show(progress_t *progress, double share, const char *text, int keep)
{
    enum { CELLS = 8 };
    char line[512], bar[CELLS + 1];

    progress->last_shown = seconds_now();
    progress_clear(progress);
    if (!progress->terminal || keep) {
        fprintf(stderr, "%s\n", text);
        return;
    }
    for (int i = 0; i < CELLS; i++)
        bar[i] = i < (int)(share * CELLS + 0.5) ? '#' : '.';
    bar[CELLS] = '\0';
    snprintf(line, sizeof line, "[%s] %s", bar, text);
    line[terminal_width() - 1 < (int)sizeof line ? terminal_width() - 1 : (int)sizeof line - 1] = '\0';
    fputs(line, stderr);
    fflush(stderr);
    progress->bar_shown = 1;
}

static int due(const progress_t *progress)
{
    return seconds_now() - progress->last_shown >= (progress->terminal ? BAR_SECONDS : LINE_SECONDS);
}

/* What matters most comes first: a narrow terminal cuts the end. */
static void step_text(const progress_t *progress, const moco_step_report_t *r, int epoch_end, char *text, size_t size)
{
    char eta[24], steps[48] = "", epochs[32] = "", queue[24] = "", chance[32] = "", contrast[32] = "not measured";

    if (progress->epochs > 0)
        snprintf(epochs, sizeof epochs, "/%d", (int)progress->epochs);
    if (r->steps_total > 0)
        snprintf(steps, sizeof steps, "/%lld", (long long)r->steps_total);
    if (r->queue_fill > 0) /* 0: a method without a queue */
        snprintf(queue, sizeof queue, " queue %.0f %%", 100 * r->queue_fill);
    if (r->contrast_top1 >= 0) { /* a method with negatives */
        snprintf(chance, sizeof chance, " (chance %.2f)", r->chance_loss);
        snprintf(contrast, sizeof contrast, "%.1f %%", r->contrast_top1);
    }
    snprintf(text, size, "%s %lld%s step %lld%s loss %.2f%s ETA %s %.0f images/s contrast %s%s lr %.3g",
             epoch_end ? "epoch done" : "epoch", (long long)r->epoch + 1, epochs, (long long)r->step, steps,
             epoch_end ? r->epoch_loss : r->loss, chance, r->eta_seconds > 0 ? duration(r->eta_seconds, eta) : "-",
             progress->speed, contrast, queue, r->lr);
}

void progress_step(progress_t *progress, const moco_step_report_t *report)
{
    const int epoch_end = report->steps_per_epoch > 0 && report->step_in_epoch == report->steps_per_epoch;
    char text[400];

    progress->speed = progress->speed > 0 ? 0.9 * progress->speed + 0.1 * report->images_per_second
                                          : report->images_per_second;
    if (!epoch_end && !due(progress) && !(progress->terminal && report->step == 1))
        return;
    step_text(progress, report, epoch_end, text, sizeof text);
    show(progress, report->steps_total > 0 ? (double)report->step / (double)report->steps_total : 0, text, epoch_end);
}

void progress_images(progress_t *progress, int64_t done, int64_t total)
{
    const double seconds = seconds_now() - progress->started;
    const double speed = seconds > 0 ? (double)done / seconds : 0;
    char text[200], eta[24];

    if (!due(progress))
        return;
    snprintf(text, sizeof text, "%s %lld of %lld images  %.0f images/s  ETA %s", progress->verb, (long long)done,
             (long long)total, speed, speed > 0 ? duration((double)(total - done) / speed, eta) : "-");
    show(progress, total > 0 ? (double)done / (double)total : 0, text, 0);
}

void progress_learning(progress_t *progress, const moco_classifier_report_t *r)
{
    const double seconds = seconds_now() - progress->started;
    const double speed = seconds > 0 ? (double)r->done / seconds : 0;
    char text[200], eta[24], measured[64] = "";

    if (r->top1 < 0 && !due(progress))
        return;
    if (r->top1 >= 0)
        snprintf(measured, sizeof measured, " top-1 %.2f %% top-5 %.2f %%", r->top1, r->top5);
    snprintf(text, sizeof text, "%s epoch %d/%d loss %.4f%s ETA %s %.0f images/s", progress->verb, (int)r->epoch + 1,
             (int)r->epochs, r->loss, measured, speed > 0 ? duration((double)(r->total - r->done) / speed, eta) : "-",
             speed);
    show(progress, r->total > 0 ? (double)r->done / (double)r->total : 0, text, r->top1 >= 0);
}
