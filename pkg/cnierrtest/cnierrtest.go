// Package cnierrtest holds errors of tests against what a runtime is told of them.
package cnierrtest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/cnierr"
)

// Want expects an error with this code of CNI and this sentence.
func Want(t *testing.T, err error, code uint, sentence string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(sentence, cnierr.Sentence(err)); diff != "" {
		t.Errorf("sentence (-want +got):\n%s", diff)
	}
	if got := cnierr.Code(err); got != code {
		t.Errorf("code: got %d, want %d", got, code)
	}
}
