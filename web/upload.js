// A file to the farm in pieces: one that is lost on the way is sent again from where the farm has it.
import { get, post, request, videoPath } from "./api.js";

const PIECE = 8 * 1024 * 1024;
const TRIES = 6;

export async function upload(file, { policy, priority }, onProgress, signal) {
  const { video_id: video } = await post("/api/v1/videos", { name: file.name, policy, priority });
  let at = 0, lost = 0;
  while (at < file.size || file.size === 0) {
    const end = Math.min(file.size, at + PIECE);
    try {
      const headers = file.size ? { "Content-Range": `bytes ${at}-${end - 1}/${file.size}` } : {};
      await request("PUT", videoPath(video, "/source"), { body: file.slice(at, end), headers, signal });
      at = end;
      lost = 0;
    } catch (error) {
      if (error.name === "AbortError" || (error.status && error.status < 500 && ![409, 429].includes(error.status))) throw error;
      if (++lost > TRIES) throw error;
      await new Promise((done) => setTimeout(done, 500 * 2 ** lost));
      const known = await get(videoPath(video, "/source"), { signal });
      if (known.complete) at = file.size;
      else at = known.offset;
    }
    onProgress(file.size ? Math.round((at * 100) / file.size) : 100, video);
    if (file.size === 0) break;
  }
  return video;
}
