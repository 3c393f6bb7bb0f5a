# Headroom's tasks. "make" alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
# Where make test-cluster and make demo keep the compiled control plane; it is made once and used for ever.
CLUSTER_CACHE ?=
RACE ?= -race
TRACES ?=

.PHONY: help
help: ## list the tasks
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: build
build: bin/headroom ## build bin/headroom

.PHONY: bin/headroom
bin/headroom:
	CGO_ENABLED=0 $(GO) build -o $@ ./cmd/headroom

.PHONY: demo
demo: ## the same traffic on a real HPA alone and with Headroom, side by side (the first run compiles Kubernetes and Prometheus: about fifteen minutes)
	@echo "compiling the demo (a minute or two the first time)"
	@$(GO) run ./test/demo $(DEMO_FLAGS)

.PHONY: unit
unit: ## the fast tests, with the race detector (under two minutes once compiled)
	$(GO) test $(RACE) -shuffle=on $$($(GO) list ./... | grep -v -e /test/e2e -e '/forecaster$$' -e '/forecaster/backtest$$')
	@echo "the forecaster starts no goroutine, and fifty seeds under the race detector take minutes: make test-long does that"
	$(GO) test -shuffle=on ./forecaster ./forecaster/backtest
	$(GO) -C test/cluster test .

.PHONY: conformance
conformance: ## the presets and the batching against a real PromQL engine, the HPA's arithmetic against its controller; each in a module of its own
	$(GO) -C test/conformance/promql test ./...
	$(GO) -C test/cluster/hpa test -count=1 .

.PHONY: e2e
e2e: ## the product's story on a real control plane (about half an hour, and a quarter more for the first compile)
	$(GO) -C test/cluster run . build
	HEADROOM_E2E=1 $(GO) -C test/cluster test -count=1 -timeout 45m .
	HEADROOM_E2E=1 $(GO) test -count=1 -timeout 65m -p 1 -v ./test/testbed ./test/e2e

.PHONY: test
test: lint verify-generate unit conformance e2e ## everything that runs for every change

.PHONY: test-long
test-long: ## what is too long for every run: fuzzing, the forecaster under the race detector, the benchmarks beside the code
	$(GO) test -race ./forecaster/...
	$(MAKE) fuzz FUZZTIME=2m
	$(GO) test -run '^$$' -bench . -benchtime 2s ./adapter/... ./forecaster/...

.PHONY: lint
lint: ## go vet, and golangci-lint at the version that test/lint pins
	$(GO) vet ./...
	$(GO) -C test/lint build -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	bin/golangci-lint run ./...

.PHONY: generate
generate: ## write the CustomResourceDefinition, the deep copies and the reference page from the types in api
	$(GO) -C test/generate build -o ../../bin/controller-gen sigs.k8s.io/controller-tools/cmd/controller-gen
	bin/controller-gen object paths=./api/... crd paths=./api/... output:crd:dir=charts/headroom/files/crds
	$(GO) test ./api/v1alpha1 -run Reference -update

.PHONY: verify-generate
verify-generate: generate ## fail where "make generate" would change something
	@git diff --exit-code -- api charts/headroom/files/crds docs/headroom/reference.md || { echo "generated files are not what the types say: run 'make generate' and commit what it writes"; exit 1; }

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (default 30s)
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $${FUZZTIME:-30s} $$pkg; \
	  done; \
	done

.PHONY: bench-load
bench-load: ## load on the metrics APIs at 100, 1,000 and 5,000 pods, beside an empty provider; writes bench/results/load.md
	mkdir -p bench/results
	$(GO) run ./bench/load scenarios -markdown bench/results/load.md -json bench/results/load.json $(BENCH_FLAGS)

.PHONY: bench-forecast
bench-forecast: ## the forecaster beside honest baselines; TRACES=DIR for real traces, else seeded generators; writes bench/results/forecast.md
	mkdir -p bench/results
	$(GO) run ./forecaster/app/benchforecast $(if $(TRACES),-traces $(TRACES)) -out bench/results/forecast.md

.PHONY: bench-replay
bench-replay: ## the replay's scoreboard: cost against late work for every trace; TRACES=DIR for real traces, else seeded generators; writes bench/results/replay.md
	mkdir -p bench/results
	$(GO) run ./bench/app/benchreplay $(if $(TRACES),-traces $(TRACES)) -out bench/results/replay.md
