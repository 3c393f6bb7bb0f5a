package app

import (
	"os"
	"strings"
	"testing"
)

// TestThePageShowsAnExplanationAsItIsPrinted: the example on the page is one of this package's goldens.
func TestThePageShowsAnExplanationAsItIsPrinted(t *testing.T) {
	page, err := os.ReadFile("../../docs/headroom/with-forecast.md")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/decided.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```text\n"+string(golden)+"```\n") {
		t.Error("docs/headroom/with-forecast.md does not show testdata/decided.txt: copy it there")
	}
}
