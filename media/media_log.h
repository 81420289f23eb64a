/* media/media_log.h: where libav's own complaints go. */
#ifndef SL_MEDIA_MEDIA_LOG_H
#define SL_MEDIA_MEDIA_LOG_H

/* For the whole process: errors become debug lines beside our own sentences, the rest is dropped. */
void media_log_start(void);

#endif
