/* media/media_graph.h: a chain of libavfilter's filters for pictures.
 *
 * Owns:    the graph. push takes a reference of its own, pull fills a frame of the caller's.
 * Units:   pts in the time base given, going in and coming out, whatever the filters count in.
 * Errors:  SL_EUNSUPPORTED when the chain does not take such a picture, SL_EDECODE when it fails on one, SL_ENOMEM.
 * Threads: one thread per graph, and the filters start none.
 */
#ifndef SL_MEDIA_MEDIA_GRAPH_H
#define SL_MEDIA_MEDIA_GRAPH_H

#include <libavutil/frame.h>

#include "base/error.h"
#include "model/media_types.h"

struct media_graph;

/* chain: as ffmpeg's -vf takes it. like: a frame as they will come. */
int media_graph_open(const char *chain, const AVFrame *like, struct rational time_base,
                     struct media_graph **out, struct sl_failure *why);
/* Is the frame shaped as the one that the graph was opened with? */
bool media_graph_fits(const struct media_graph *graph, const AVFrame *frame);
/* NULL: no more will come. */
int media_graph_push(struct media_graph *graph, const AVFrame *frame, struct sl_failure *why);
/* 1 and the next picture; 0: it wants more, or gave its last. */
int media_graph_pull(struct media_graph *graph, AVFrame *into, struct sl_failure *why);
void media_graph_close(struct media_graph **graph);

#endif
