package agent

import (
	"errors"
	"os"
	"testing"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

// TestKeyringReplaces goes through all steps, with a process that ends after each. The files are as they have to be, and others may not
// read them.
func TestKeyringReplaces(t *testing.T) {
	dir := t.TempDir()
	if _, err := newKeyring(dir).begin(); !errors.Is(err, errNoKey) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := newKeyring(dir).ensure(); err != nil {
		t.Fatal(err)
	}
	old := newKeyring(dir).public()
	next, err := newKeyring(dir).begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newKeyring(dir).begin(); !errors.Is(err, agentapi.ErrInUse) {
		t.Errorf("a second time: %v", err)
	}
	r := newKeyring(dir)
	is := r.replaced()
	if !is.ongoing() || is.returning() || r.public() != old || r.nextPublic() != next.Public() || is.last() != next || is.since.IsZero() {
		t.Errorf("begun: %+v", is)
	}
	if err := r.step(is); err != nil {
		t.Fatal(err)
	}
	again := newKeyring(dir)
	for _, r := range []*keyring{r, again} {
		if is := r.replaced(); !is.returning() || r.public() != next.Public() || r.nextPublic() != next.Public() {
			t.Errorf("on both devices: %+v", is)
		}
		for _, file := range []string{r.file, r.aside} {
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
		}
	}
	if err := again.step(again.replaced()); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*keyring{again, newKeyring(dir)} {
		if is := r.replaced(); is.ongoing() || r.public() != next.Public() || !r.nextPublic().IsZero() || is.last() != is.key {
			t.Errorf("done: %+v", is)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestKeysOfAnotherMachine are put aside with what else its directory says: two hosts with one key are none to the others.
func TestKeysOfAnotherMachine(t *testing.T) {
	s, err := newStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := newKeyring(s.dir)
	if _, err := r.ensure(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.begin(); err != nil {
		t.Fatal(err)
	}
	if err := s.setAside(); err != nil {
		t.Fatal(err)
	}
	if fresh := newKeyring(s.dir); !fresh.public().IsZero() || !fresh.nextPublic().IsZero() {
		t.Error("a key of another machine is this one's")
	}
}
