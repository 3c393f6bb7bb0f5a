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
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: build
build: bin/headroom ## build bin/headroom

.PHONY: bin/headroom
bin/headroom:
	CGO_ENABLED=0 $(GO) build -o $@ ./cmd/headroom

.PHONY: demo
demo: build ## watch a real HPA scale a simulated GPU fleet (first run compiles Kubernetes: about nine minutes)
	$(GO) run ./test/demo $(DEMO_FLAGS)

.PHONY: unit
unit: ## the fast tests, with the race detector (under two minutes once compiled)
	$(GO) test $(RACE) -shuffle=on ./adapter/... ./api/... ./bench/... ./cmd/... ./forecaster/... ./prewarm/... ./test/arch/... ./test/conformance/...

.PHONY: test
test: lint unit e2e ## everything that runs for every change

.PHONY: lint
lint: ## formatting, go vet and golangci-lint at the pinned version
	$(GO) vet ./...

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (default 30s)
	@for pkg in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-30s} $$pkg; done; done
