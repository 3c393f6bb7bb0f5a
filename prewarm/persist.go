package prewarm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxPersisted batches, some fifteen bytes each, are enough for a P90 and small enough for a status.
const maxPersisted = 20

// Persist is the latest batches as a short text for the object's status, so that another leader need not learn anew:
// "tabc12:62 tabd00:412n tabd5k:80+", when each began (seconds since 1970, base 36), the seconds it took, and n for a new
// node, + for one that was never whole, t for one that was told.
func (t *Tracker) Persist() string {
	var words []string
	for _, b := range slices.Backward(t.closed) {
		if b.Pods == 0 || len(words) == maxPersisted {
			continue
		}
		word := strconv.FormatInt(b.Began.Unix(), 36) + ":" + strconv.FormatInt(int64(b.Took.Round(time.Second)/time.Second), 10)
		if b.NewNode {
			word += "n"
		}
		if !b.Finished {
			word += "+"
		}
		if b.Told {
			word += "t"
		}
		words = append(words, word)
	}
	slices.Reverse(words)
	return strings.Join(words, " ")
}

// Restore takes in what Persist gave, before the first Update. Words that it cannot read are named in the error; the others count.
func (t *Tracker) Restore(text string) error {
	var problems []error
	for word := range strings.FieldsSeq(text) {
		batch, err := parseBatch(word)
		if err == nil && batch.Took > t.options.GiveUp+t.options.BatchGap {
			err = fmt.Errorf("%v is longer than a start may take, %v", batch.Took, t.options.GiveUp)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("batch %q: %w", word, err))
			continue
		}
		t.remember(batch)
	}
	return errors.Join(problems...)
}

func parseBatch(word string) (Batch, error) {
	began, rest, found := strings.Cut(word, ":")
	if !found {
		return Batch{}, errors.New("must be BEGAN:SECONDS")
	}
	batch := Batch{Pods: 1, Finished: true}
	unix, err := strconv.ParseInt(began, 36, 64)
	if err != nil || unix < 0 || unix > 1<<40 {
		return Batch{}, errors.New("the time before the colon must be seconds since 1970 in base 36")
	}
	batch.Began = time.Unix(unix, 0).UTC()
	digits := strings.TrimRight(rest, "n+t")
	seconds, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return Batch{}, errors.New("what follows the colon must be whole seconds, then n, + or t")
	}
	batch.Took = time.Duration(seconds) * time.Second
	for _, flag := range rest[len(digits):] {
		switch flag {
		case 'n':
			batch.NewNode = true
		case '+':
			batch.Finished = false
		case 't':
			batch.Told = true
		}
	}
	return batch, nil
}
