/*
 * libmoco: self-supervised image encoders in C.
 *
 * Learn a visual encoder from unlabelled JPEGs with Momentum Contrast (v1, v2, v3), SimCLR or BYOL,
 * measure it with labels, and turn images into embeddings.
 *
 *   simple     moco_dataset_open, moco_trainer_create, moco_trainer_run, moco_model_load,
 *              moco_model_embed_to_npy
 *   embedded   moco_trainer_push_pixels + moco_trainer_step, moco_trainer_snapshot,
 *              moco_model_embed_pixels
 *   pieces     moco_queue_t (the dictionary and its loss), moco_index_t (search, kNN)
 *   measure    moco_knn_measure, moco_probe_train (a linear classifier on frozen features),
 *              moco_finetune_train
 *   stop       moco_cancel_t, in the options of every long call
 *   files      moco_convert, moco_file_info (checkpoints of other programs)
 *
 * Handles are opaque. Whatever a call creates, the matching _free releases; _free takes NULL.
 * Options are plain structs whose first field is their size; the matching _init fills them. A call
 * that fails leaves its objects as they were, returns a status, and moco_last_message() says what
 * was found and what was wanted. The library does not print, exit or start threads at load.
 * Callbacks come on the calling thread only. Version and status names are also functions, and
 * options can be set by name as text, so that most uses from Python's ctypes or cffi need no
 * constants.
 */
#ifndef MOCO_MOCO_H
#define MOCO_MOCO_H

#include <moco/export.h>
#include <moco/status.h>
#include <moco/types.h>
#include <moco/version.h>
#include <moco/device.h>
#include <moco/cancel.h>
#include <moco/dataset.h>
#include <moco/model.h>
#include <moco/queue.h>
#include <moco/index.h>
#include <moco/trainer.h>
#include <moco/classifier.h>
#include <moco/probe.h>
#include <moco/finetune.h>
#include <moco/convert.h>

#endif
