package hostlocal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crashes is how often a child is killed.
const crashes = 100

// churn adds and releases until it is killed: many owners, so that the index
// grows, and a foreign change now and then, so that it is rebuilt.
func churn(c Config) error {
	ctx, m := context.Background(), testMachine()
	for {
		o := owner(rand.IntN(400))
		var err error
		switch rand.IntN(5) {
		case 0, 1, 2:
			_, err = m.add(ctx, c, o, "/proc/self/ns/net")
		case 3:
			err = m.release(ctx, c, o)
		case 4:
			name := filepath.Join(c.DataDir, c.Network, "foreign")
			if err = os.WriteFile(name, nil, 0o600); err == nil {
				err = os.Remove(name)
			}
		}
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
}

func TestKilledAnywhere(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"ranges": [[{"subnet": "10.1.0.0/22"}], [{"subnet": "fd00::/64"}]]`)
	m := testMachine()
	for i := range crashes {
		cmd := childCommand(t, "churn", c)
		var output strings.Builder
		cmd.Stdout = &output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(10+rand.IntN(20)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("the child ended by itself: %v %s", err, &output)
		}
		_ = cmd.Wait() // it was killed
		if output.Len() > 0 {
			t.Fatalf("child: %s", &output)
		}
		checkInvariants(t, m, c, i)
	}
	if err := m.store(c).GC(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if left := reservations(t, c); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// checkInvariants: each reservation is whole, no owner has two addresses of one
// family, and the index finds exactly what the files say.
func checkInvariants(t *testing.T, m machine, c Config, round int) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(c.DataDir, c.Network)); isNotExist(err) {
		return // killed before its first call
	}
	byOwner := map[string]int{}
	for a, content := range reservations(t, c) {
		o := parseOwner([]byte(content))
		if o.check() != nil || o.content() != content {
			t.Fatalf("round %d: %s holds %q", round, a, content)
		}
		byOwner[fmt.Sprint(o, strings.Contains(a, ":"))]++
	}
	for o, n := range byOwner {
		if n > 1 {
			t.Fatalf("round %d: %s holds %d addresses", round, o, n)
		}
	}
	s, err := m.enter(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	entries, err := s.scan(nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.index.used != uint64(len(entries)) {
		t.Fatalf("round %d: index of %d, directory of %d", round, s.index.used, len(entries))
	}
	for _, e := range entries {
		if addrs, agreed, err := s.lookup(e.owner); !agreed || err != nil || len(addrs) == 0 {
			t.Fatalf("round %d: index does not know %v", round, e)
		}
	}
}
