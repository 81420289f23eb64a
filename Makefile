# sluice: GNU make, everything under build/. Targets for people:
#
#   make deps | deps-test | deps-browser | deps-bench   install with apt what is missing
#   make all                                            the four programs and the pages
#   make web                                            the pages' player library (hls.js), with npm
#   make demo [IN=file]                                 encode a sample (or your) video on a farm of one
#   make test                                           every test; prints "N passed, N failed, N skipped"
#   make test-san                                       the same unit tests under ASan+UBSan, then TSan
#   make test-debian13                                  build and unit tests in a Debian 13 of its own
#   make fuzz [FUZZ_SECONDS=600]                        libFuzzer over probe, planner, wire, YAML, manifests
#   make test-browser                                   playback in headless Chromium
#   make bench                                          figures as ratios, beside ffmpeg
#   make gpu-check [STANDIN=1]                          kernels' truth and times on this machine's GPU: gpu-report.json
#   make format-check | lint                            clang-format, cppcheck, shellcheck
#   make standin                                        devices made of software, to try policies with
#   make install [PREFIX=/usr/local DESTDIR=]           programs, systemd units, user, /etc/sluice
#
# A module is a folder: its .c files become build/lib/<folder>.a, its main.c (if any) a program. To add a
# file, write it; to add a module, add its row below.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-4s %s\n' $(1) $(2))

VERSION := 0.1.0
PREFIX  ?= /usr/local
DESTDIR ?=
# SAN=address or SAN=thread builds beside the plain build.
SAN ?=
B := build$(if $(SAN),/san-$(SAN))

# ---- modules, lowest first -------------------------------------------------------------------------

MODULES := base model \
	scheduler/core scheduler/plan scheduler/store scheduler/api scheduler/daemon \
	wire objects agent/core agent \
	hal cpu gpu encoders media package worker \
	config cli

lib = $(B)/lib/$(subst /,_,$(1)).a
libs = $(foreach m,$(1),$(call lib,$(m)))

AV := libavformat libavfilter libavcodec libswresample libswscale libavutil

PROGRAMS := sluiced sluice-agent sluice-worker sluice
sluiced_MAIN := scheduler/daemon
sluiced_USES := scheduler/daemon scheduler/api scheduler/core scheduler/plan scheduler/store wire objects config package model base
sluiced_PKGS := libprotobuf-c sqlite3 libmicrohttpd libcurl jansson yaml-0.1 libcrypto
sluiced_LIBS := -lnng

sluice-agent_MAIN := agent
sluice-agent_USES := agent agent/core hal wire objects config model base
sluice-agent_PKGS := libprotobuf-c libcurl yaml-0.1 libcrypto
sluice-agent_LIBS := -lnng

sluice-worker_MAIN := worker
sluice-worker_USES := worker package media encoders gpu cpu hal wire model base
sluice-worker_PKGS := $(AV) libva libva-drm zimg vpx libprotobuf-c libcrypto libseccomp

sluice_MAIN := cli
sluice_USES := cli config model base
sluice_PKGS := libcurl jansson yaml-0.1 libcrypto

PROGRAMS := $(foreach p,$(PROGRAMS),$(if $(wildcard $($(p)_MAIN)/main.c),$(p)))

# What the tests of tests/<area>/ link.
TEST_AREAS := base core plan store objects wire agent hal cpu gpu encoders media package worker config daemon api cli drivers
base_USES     := base model
core_USES     := scheduler/core model base
plan_USES     := scheduler/plan model base
store_USES    := scheduler/store model base
store_PKGS    := sqlite3
objects_USES  := objects model base
objects_PKGS  := libcurl libcrypto
wire_USES     := wire model base
wire_PKGS     := libprotobuf-c libcrypto
wire_LIBS     := -lnng
agent_USES    := $(sluice-agent_USES)
agent_PKGS    := $(sluice-agent_PKGS)
agent_LIBS    := -lnng
hal_USES      := hal model base
cpu_USES      := cpu hal model base
cpu_PKGS      := libavutil libswscale zimg
gpu_USES      := gpu media cpu hal model base
gpu_PKGS      := $(AV) libva libva-drm zimg
encoders_USES := encoders gpu cpu hal model base
encoders_PKGS := $(AV) libva libva-drm zimg vpx
media_USES    := media hal model base
media_PKGS    := $(AV)
package_USES  := package encoders gpu cpu hal model base
package_PKGS  := $(AV) libva libva-drm zimg vpx libcrypto
worker_USES   := $(sluice-worker_USES) scheduler/plan
worker_PKGS   := $(sluice-worker_PKGS)
config_USES   := config model base
config_PKGS   := yaml-0.1
daemon_USES   := $(sluiced_USES)
daemon_PKGS   := $(sluiced_PKGS)
daemon_LIBS   := -lnng
api_USES      := $(sluiced_USES)
api_PKGS      := $(sluiced_PKGS)
api_LIBS      := -lnng
cli_USES      := $(sluice_USES)
cli_PKGS      := $(sluice_PKGS)
drivers_USES  := worker model base
drivers_PKGS  := libavcodec libavutil libseccomp

# ---- flags -----------------------------------------------------------------------------------------

CC       ?= cc
PKGS     := $(sort $(AV) zimg vpx libseccomp libprotobuf-c libcrypto sqlite3 libmicrohttpd libcurl jansson yaml-0.1)
CPPFLAGS := -I. -I$(B)/gen -D_GNU_SOURCE -DSLUICE_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
WARN     := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
	-Wno-missing-field-initializers -Wno-format-nonliteral -Wno-format-truncation
comma    := ,
HARDEN   := -fstack-protector-strong -fstack-clash-protection -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
SANFLAGS := $(if $(filter address,$(SAN)),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer) \
	$(if $(filter thread,$(SAN)),-fsanitize=thread -fno-omit-frame-pointer) \
	$(if $(filter fuzz,$(SAN)),-fsanitize=fuzzer-no-link$(comma)address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -Wno-unknown-warning-option)
CFLAGS   ?= -O2 -g
ALL_CFLAGS := -std=gnu17 $(CFLAGS) $(WARN) $(HARDEN) $(SANFLAGS) -pthread -MMD -MP
LDFLAGS  ?=
ALL_LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed $(SANFLAGS) $(LDFLAGS)

# ---- building --------------------------------------------------------------------------------------

.PHONY: all
all: $(PROGRAMS:%=$(B)/%) $(B)/web/index.html

srcs = $(filter-out $(1)/main.c,$(wildcard $(1)/*.c))
objs = $(patsubst %.c,$(B)/obj/%.o,$(call srcs,$(1)))

define module
$(call lib,$(1)): $(call objs,$(1)) $(if $(filter wire,$(1)),$(B)/obj/gen/sluice.pb-c.o)
	@mkdir -p $$(@D) && rm -f $$@
	$(Q)$(AR) rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call module,$(m))))

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

# The pages as they are written, in the folder that sluiced serves; `make web` adds the player library.
WEB := $(filter-out web/package%.json,$(wildcard web/*.html web/*.css web/*.js web/*.svg))
$(B)/web/index.html: $(WEB)
	@mkdir -p $(@D)
	$(call say,WEB,$(@D))
	$(Q)cp -p $(WEB) $(@D) && touch $@

.PHONY: web
web: $(B)/web/index.html $(B)/web/hls.min.js
$(B)/web/hls.min.js: web/package.json web/package-lock.json web/.npmrc | $(B)/web/index.html
	@tools/npm.sh web $(B)/npm-web
	$(Q)cp $(B)/npm-web/node_modules/hls.js/dist/hls.min.js $@

# The wire messages; protoc-c's output is compiled without our warnings.
$(B)/gen/wire/sluice.pb-c.h: wire/sluice.proto
	@mkdir -p $(B)/gen
	protoc-c --c_out=$(B)/gen wire/sluice.proto
$(B)/gen/wire/sluice.pb-c.c: $(B)/gen/wire/sluice.pb-c.h ;
$(B)/obj/gen/sluice.pb-c.o: $(B)/gen/wire/sluice.pb-c.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu17 $(CFLAGS) $(HARDEN) $(SANFLAGS) -c -o $@ $<
$(call objs,wire): | $(B)/gen/wire/sluice.pb-c.h

# The description of the HTTP interface is part of the daemon.
$(B)/obj/scheduler/api/api_openapi.o: docs/openapi.json

define program
$(B)/$(1): $(B)/obj/$($(1)_MAIN)/main.o $(call libs,$($(1)_USES))
	$$(call say,LD,$$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $$@ $$< -Wl,--start-group $(call libs,$($(1)_USES)) -Wl,--end-group \
		$$(shell pkg-config --libs $($(1)_PKGS)) $($(1)_LIBS) -lm
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

# ---- GPU kernels -----------------------------------------------------------------------------------

# nvcc makes machine code for usual GPUs and PTX for later ones; clang, without a CUDA toolkit, makes PTX, which the driver
# compiles. GPU_CC=nvcc, clang or none overrides what is found; without either, programs have no kernels and say so.
NVCC ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
GPU_CC ?= $(if $(NVCC),nvcc,$(if $(shell command -v clang 2>/dev/null),clang,none))
GPU_SOURCES := $(wildcard gpu/kernels/*.cu gpu/kernels/*.cuh) gpu/gpu_abi.h
GPU_IMAGE := $(if $(filter nvcc clang,$(GPU_CC)),build/kernels/$(GPU_CC).image)
GPU_CODES := 75 80 90
build/kernels/nvcc.image: $(GPU_SOURCES)
	@mkdir -p $(@D)
	$(call say,NVCC,gpu/kernels/kernels.cu)
	$(Q)$(or $(NVCC),nvcc) -fatbin -O3 -fmad=false -I. -t 2 $(foreach a,$(GPU_CODES),-gencode arch=compute_$(a)$(comma)code=sm_$(a)) \
		-gencode arch=compute_75$(comma)code=compute_75 -o $@ gpu/kernels/kernels.cu
build/kernels/clang.image: $(GPU_SOURCES)
	@mkdir -p $(@D)
	$(call say,CUDA,gpu/kernels/kernels.cu)
	$(Q)clang -x cuda --cuda-device-only --cuda-gpu-arch=sm_75 --cuda-path=/nonexistent -nocudainc -nocudalib \
		-O3 -ffp-contract=off -I. -S -o $@ gpu/kernels/kernels.cu

# What made the image is remembered, so that another compiler makes the object anew.
build/kernels/made-by: $(if $(filter $(GPU_CC),$(shell cat build/kernels/made-by 2>/dev/null)),,.always)
	@mkdir -p $(@D) && echo $(GPU_CC) >$@
.PHONY: .always
$(B)/obj/gpu/gpu_kernels.o: build/kernels/made-by $(GPU_IMAGE)
$(B)/obj/gpu/gpu_kernels.o: CPPFLAGS += $(if $(GPU_IMAGE),-DGPU_IMAGE='"$(GPU_IMAGE)"' -DGPU_MADE_BY='"$(GPU_CC)"')

# ---- tests -----------------------------------------------------------------------------------------

# tests/<area>/test_*.c are programs; fake_*.c are helper programs of their own; the other .c files
# of an area are linked into each of its tests.
test_srcs    = $(wildcard tests/$(1)/test_*.c)
fake_srcs    = $(wildcard tests/$(1)/fake_*.c)
support_objs = $(patsubst %.c,$(B)/obj/%.o,$(filter-out $(call test_srcs,$(1)) $(call fake_srcs,$(1)),$(wildcard tests/$(1)/*.c)))
test_bins    = $(patsubst tests/%.c,$(B)/tests/%,$(call test_srcs,$(1)))
fake_bins    = $(patsubst tests/%.c,$(B)/tests/%,$(call fake_srcs,$(1)))

# The kernels' source as host code (tests/gpu/emulate.h); its fibers are not for sanitizers.
HOST_CXX := $(shell command -v g++ || command -v clang++)
gpu_OBJS := $(B)/obj/tests/media/media_kit.o $(if $(SAN),,$(if $(HOST_CXX),$(B)/obj/tests/gpu/emulated.o))
$(B)/obj/tests/gpu/emulated.o: tests/gpu/emulated.cc tests/gpu/emulate.h $(GPU_SOURCES)
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(HOST_CXX) -std=c++17 -O2 -g -Wall -ffp-contract=off -fno-exceptions -fno-rtti -fPIE -I. -c -o $@ $<

define area
$(call test_bins,$(1)) $(call fake_bins,$(1)): $(B)/tests/%: $(B)/obj/tests/%.o $(call support_objs,$(1)) $($(1)_OBJS) $(call libs,$($(1)_USES))
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $$@ $$< $(call support_objs,$(1)) $($(1)_OBJS) -Wl,--start-group $(call libs,$($(1)_USES)) -Wl,--end-group \
		$$(shell pkg-config --libs $($(1)_PKGS) cmocka) $($(1)_LIBS) -lm
tests-$(1): $(call test_bins,$(1)) $(call fake_bins,$(1))
.PHONY: tests-$(1)
endef
$(foreach a,$(TEST_AREAS),$(eval $(call area,$(a))))

# Fuzzers, by clang alone: make fuzz calls make with SAN=fuzz.
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz_USES := media scheduler/plan wire config package model base hal
fuzz_PKGS := $(AV) libprotobuf-c yaml-0.1 libcrypto
$(FUZZERS): $(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/wire/wire_random.o $(call libs,$(fuzz_USES))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< $(B)/obj/tests/wire/wire_random.o -Wl,--start-group \
		$(call libs,$(fuzz_USES)) -Wl,--end-group $(shell pkg-config --libs $(fuzz_PKGS)) -lm

.PHONY: fuzz fuzz-bins
fuzz-bins: $(FUZZERS)
FUZZ_SECONDS ?= 600
fuzz:
	@tools/deps.sh build test fuzz
	@$(MAKE) --no-print-directory -j2 SAN=fuzz CC=clang fuzz-bins
	@tests/fuzz/run --seconds $(FUZZ_SECONDS)

# Stand-in devices: drivers that encode in software behind the vendors' interfaces; tests/standin/README.md. They
# are loaded by programs of every kind, so no sanitizer is built into them. Their functions are declared by those who
# load them, as types alone.
STANDIN_DIR := build/standin
STANDIN_CFLAGS := -std=gnu17 $(CFLAGS) $(WARN) -Wno-missing-prototypes -fPIC -fvisibility=hidden -fstack-protector-strong -pthread -MMD -MP
STANDIN_LDFLAGS := -shared -pthread -Wl,-z,relro,-z,now,-z,nodelete,-z,defs -Wl,--as-needed -Wl,--enable-new-dtags,-rpath,'$$ORIGIN'
# AV1 where the headers of NVENC have it.
STANDIN_AV1 := $(if $(shell pkg-config --atleast-version=12 ffnvcodec 2>/dev/null && echo yes),-DSTANDIN_AV1)
standin_objs = $(patsubst %.c,$(STANDIN_DIR)/obj/%.o,$(1))
STANDIN_SOFT := $(call standin_objs,tests/standin/soft.c tests/standin/soft_x264.c tests/standin/soft_x265.c tests/standin/soft_vpx.c $(if $(STANDIN_AV1),tests/standin/soft_aom.c))
STANDIN_FILES := $(addprefix $(STANDIN_DIR)/,libcuda.so.1 libnvidia-encode.so.1 libnvcuvid.so.1 libnvidia-ml.so.1 half/libcuda.so.1 sluice_drv_video.so standin-stat)

.PHONY: standin
standin: $(STANDIN_FILES)
tests-drivers: standin

$(STANDIN_DIR)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,"$< (stand-in)")
	$(Q)$(CC) $(CPPFLAGS) $(STANDIN_AV1) $(STANDIN_CFLAGS) -c -o $@ $<
$(STANDIN_DIR)/libcuda.so.1: $(call standin_objs,tests/standin/cuda.c tests/standin/cuda_memory.c tests/standin/cuda_absent.c tests/standin/state.c $(wildcard gpu/*twin*.c))
	$(call say,LD,$@)
	$(Q)$(CC) $(STANDIN_LDFLAGS) -Wl,-soname,libcuda.so.1 -o $@ $^ -lm
$(STANDIN_DIR)/libnvidia-encode.so.1: $(call standin_objs,tests/standin/nvenc.c tests/standin/nvenc_query.c) $(STANDIN_SOFT) $(STANDIN_DIR)/libcuda.so.1
	$(call say,LD,$@)
	$(Q)$(CC) $(STANDIN_LDFLAGS) -Wl,-soname,libnvidia-encode.so.1 -o $@ $^ -lx264 -lx265 -lvpx $(if $(STANDIN_AV1),-laom) -lm
$(STANDIN_DIR)/libnvcuvid.so.1: $(call standin_objs,tests/standin/cuvid.c tests/standin/cuvid_h264.c tests/standin/cuvid_parser.c tests/standin/soft_decode.c) $(STANDIN_DIR)/libcuda.so.1
	$(call say,LD,$@)
	$(Q)$(CC) $(STANDIN_LDFLAGS) -Wl,-soname,libnvcuvid.so.1 -o $@ $^ -lavcodec -lavutil
$(STANDIN_DIR)/libnvidia-ml.so.1: $(call standin_objs,tests/standin/nvml.c) $(STANDIN_DIR)/libcuda.so.1
	$(call say,LD,$@)
	$(Q)$(CC) $(STANDIN_LDFLAGS) -Wl,-soname,libnvidia-ml.so.1 -o $@ $^
$(STANDIN_DIR)/sluice_drv_video.so: $(call standin_objs,$(wildcard tests/standin/va_*.c) tests/standin/state.c) $(STANDIN_SOFT) tests/standin/va_driver.map
	$(call say,LD,$@)
	$(Q)$(CC) $(STANDIN_LDFLAGS) -Wl,--version-script=tests/standin/va_driver.map -o $@ $(filter %.o,$^) \
		-lx264 -lx265 -lvpx $(if $(STANDIN_AV1),-laom) -lswscale -lavutil -lm
# Half a driver: libcuda without its encode library.
$(STANDIN_DIR)/half/libcuda.so.1: $(STANDIN_DIR)/libcuda.so.1
	@mkdir -p $(@D) && ln -sf ../libcuda.so.1 $@
$(STANDIN_DIR)/standin-stat: $(call standin_objs,tests/standin/standin_stat.c tests/standin/state.c)
	$(call say,LD,$@)
	$(Q)$(CC) -pie -pthread -o $@ $^

BENCHES := $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/bench_*.c))
bench_USES := $(sort $(sluiced_USES) $(sluice-agent_USES) $(sluice-worker_USES))
bench_PKGS := $(sort $(sluiced_PKGS) $(sluice-agent_PKGS) $(sluice-worker_PKGS))
$(BENCHES): $(B)/bench/%: $(B)/obj/bench/%.o $(call libs,$(bench_USES))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(call libs,$(bench_USES)) -Wl,--end-group \
		$(shell pkg-config --libs $(bench_PKGS)) -lnng -lm

.PHONY: test-bins bench-bins
test-bins: all standin $(foreach a,$(TEST_AREAS),tests-$(a))
bench-bins: $(BENCHES)

# Each public header compiles alone.
.PHONY: headers
headers:
	@for h in $$(git ls-files '*.h' 2>/dev/null || find . -name '*.h' -not -path './build/*'); do \
		echo "#include \"$$h\"" | $(CC) $(CPPFLAGS) -std=gnu17 $(WARN) -fsyntax-only -x c - || exit 1; done

.PHONY: test check test-san test-debian13 test-browser bench demo
test:
	@tools/deps.sh build test
	@$(MAKE) --no-print-directory -j2 test-bins
	@tests/run

# ASan+UBSan over every unit test; TSan over those of the programs that have threads.
test-san:
	@tools/deps.sh build test
	@$(MAKE) --no-print-directory -j2 SAN=address test-bins
	@$(MAKE) --no-print-directory -j2 SAN=thread $(addprefix tests-,wire agent objects daemon worker) build/san-thread/sluice-worker build/san-thread/sluiced
	@tests/run --unit --build build/san-address
	@tests/run --unit --build build/san-thread --areas wire,agent,objects,daemon,worker

# 77: this system cannot have another inside it; it was said, and counted as skipped.
test-debian13:
	@tools/debian13.sh || [ $$? = 77 ]

test-browser:
	@tools/deps.sh build test browser
	@$(MAKE) --no-print-directory -j2 all web
	@tools/npm.sh tests/browser $(B)/npm-browser
	@tests/run --browser

bench:
	@tools/deps.sh build test bench
	@$(MAKE) --no-print-directory -j2 all bench-bins standin
	@bench/run

# Needs a C compiler, nvcc or clang, and the driver; what else of the tree can be built here is built and run as well.
GPU_CHECK := $(wildcard bench/gpu_check*.c) gpu/gpu_scale.c gpu/gpu_measure_plan.c $(wildcard gpu/*twin*.c) base/error.c
build/gpu-check: $(GPU_CHECK) bench/gpu_check.h $(wildcard gpu/*.h)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) -I. -D_GNU_SOURCE -std=gnu17 -O2 -g $(WARN) -o $@ $(GPU_CHECK) -ldl -lm
.PHONY: gpu-check
gpu-check:
	@STANDIN=$(STANDIN) GPU_CC=$(GPU_CC) GPU_IMAGE=$(GPU_IMAGE) MAKE="$(MAKE)" bench/gpu-check || [ $$? -eq 77 ]

demo:
	@tools/deps.sh build demo
	@$(MAKE) --no-print-directory -j2 all
	@tools/demo.sh $(if $(IN),"$(IN)")

.PHONY: deps deps-test deps-browser deps-bench
deps:         ; @tools/deps.sh build
deps-test:    ; @tools/deps.sh build test
deps-browser: ; @tools/deps.sh build test browser
deps-bench:   ; @tools/deps.sh build test bench

# ---- care ------------------------------------------------------------------------------------------

C_FILES = $(shell git ls-files '*.c' '*.h')

.PHONY: format format-check lint clean install
format:
	clang-format -i $(C_FILES)
format-check:
	@tools/deps.sh care
	@clang-format --version
	@clang-format --dry-run -Werror $(C_FILES)
lint:
	@tools/deps.sh care
	cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
		--suppress=unknownMacro --suppress=missingIncludeSystem --suppress=uninitvar -I. -j2 $(MODULES)
	shellcheck $$(git ls-files '*.sh') tests/run .ci/run

clean:
	rm -rf build

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(PROGRAMS:%=$(B)/%) $(DESTDIR)$(PREFIX)/bin
	@# The stand-in devices, for `sluice up --standin`, where somebody has built them.
	if [ -e $(STANDIN_DIR)/libnvidia-encode.so.1 ]; then install -d $(DESTDIR)$(PREFIX)/lib/sluice/standin && \
		install -m 755 $(wildcard $(STANDIN_DIR)/*.so.1 $(STANDIN_DIR)/*.so $(STANDIN_DIR)/standin-stat) $(DESTDIR)$(PREFIX)/lib/sluice/standin; fi
	tools/install.sh "$(DESTDIR)" "$(PREFIX)" $(B)/web

-include $(shell find $(B)/obj $(STANDIN_DIR)/obj -name '*.d' 2>/dev/null)
