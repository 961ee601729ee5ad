package kernel_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// marks is a set of the tests.
func marks() *nftables.Set {
	return &nftables.Set{Table: &nftables.Table{Name: "t", Family: nftables.TableFamilyINet}, Name: "marks", KeyType: nftables.TypeMark}
}

// newMarks gives a test a host with an empty set.
func newMarks(t *testing.T) (*testnet.Namespace, *kernel.Kernel) {
	t.Helper()
	host := testnet.NewHost(t)
	testnet.Sh(t, "nft", "add table inet t; add set inet t marks { type mark; }")
	return host, open(t, "")
}

// mark is an element of the set. Comments are long, so that a listing takes many parts.
func mark(n uint32, comment string) kernel.Element {
	return kernel.Element{Set: marks(), Key: binary.NativeEndian.AppendUint32(nil, n), Comment: comment}
}

func manyMarks(n int) []kernel.Element {
	var many []kernel.Element
	for i := range n {
		many = append(many, mark(uint32(i), strings.Repeat("x", 100)))
	}
	return many
}

func comments(t *testing.T, k *kernel.Kernel) map[uint32]string {
	t.Helper()
	elements, err := k.Elements(marks())
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[uint32]string)
	for _, e := range elements {
		found[binary.NativeEndian.Uint32(e.Key)] = e.Comment
	}
	return found
}

func TestElements(t *testing.T) {
	_, k := newMarks(t)
	steps := []struct {
		name       string
		old, added []kernel.Element
		err        error
		want       map[uint32]string
	}{
		{name: "add two", added: []kernel.Element{mark(1, "a"), mark(2, "b")}, want: map[uint32]string{1: "a", 2: "b"}},
		{name: "add one that is there", added: []kernel.Element{mark(3, "c"), mark(2, "d")}, err: unix.EEXIST,
			want: map[uint32]string{1: "a", 2: "b"}},
		{name: "delete one that is not there", old: []kernel.Element{mark(1, ""), mark(4, "")}, err: unix.ENOENT,
			want: map[uint32]string{1: "a", 2: "b"}},
		{name: "replace", old: []kernel.Element{mark(2, "")}, added: []kernel.Element{mark(2, "e"), mark(3, "f")},
			want: map[uint32]string{1: "a", 2: "e", 3: "f"}},
		{name: "nothing", want: map[uint32]string{1: "a", 2: "e", 3: "f"}},
		{name: "delete two", old: []kernel.Element{mark(1, "ignored"), mark(2, "")}, want: map[uint32]string{3: "f"}},
	}
	for _, step := range steps {
		if err := k.ReplaceElements(step.old, step.added); !errors.Is(err, step.err) {
			t.Errorf("%s: error %v, want %v", step.name, err, step.err)
		}
		if diff := cmp.Diff(step.want, comments(t, k)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestElement(t *testing.T) {
	_, k := newMarks(t)
	if err := k.AddElements([]kernel.Element{mark(1, "a")}); err != nil {
		t.Fatal(err)
	}
	if found, err := k.Element(marks(), mark(1, "").Key); err != nil || found.Comment != "a" {
		t.Errorf("Element of 1 = %+v, %v", found, err)
	}
	if _, err := k.Element(marks(), mark(2, "").Key); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Element of 2: error %v, want ENOENT", err)
	}
}

func TestElementsOfMissingSet(t *testing.T) {
	testnet.NewHost(t)
	k := open(t, "")
	if _, err := k.Elements(marks()); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Elements: error %v, want ENOENT", err)
	}
	if err := k.AddElements([]kernel.Element{mark(1, "a")}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("AddElements: error %v, want ENOENT", err)
	}
}

// The answers to a thousand messages would overrun the socket, and an attribute has a length of sixteen bits. Each set is
// listed while the kernel still makes room for so many, in the background.
func TestManyElements(t *testing.T) {
	_, k := newMarks(t)
	many := manyMarks(1000)
	for range 30 {
		if err := k.AddElements(many); err != nil {
			t.Fatal(err)
		}
		if got := len(comments(t, k)); got != len(many) {
			t.Errorf("%d elements, want %d", got, len(many))
		}
		if err := k.DeleteElements(many); err != nil {
			t.Fatal(err)
		}
		if got := len(comments(t, k)); got != 0 {
			t.Errorf("%d elements left", got)
		}
		testnet.Sh(t, "nft", "delete set inet t marks; add set inet t marks { type mark; }")
	}
}

// An element that goes during a listing makes the kernel skip another one.
func TestElementsWhileOthersGo(t *testing.T) {
	host, k := newMarks(t)
	many := manyMarks(400)
	if err := k.AddElements(many); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error)
	go func() { done <- host.Do(func() error { return churn(many[:100], stop) }) }()
	for range 100 {
		found := comments(t, k)
		for n := range uint32(300) {
			if found[100+n] == "" {
				t.Fatalf("element %d is missing from a listing of %d", 100+n, len(found))
			}
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// churn deletes elements one by one and adds them again, until it is stopped.
func churn(elements []kernel.Element, stop <-chan struct{}) error {
	k, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer k.Close()
	for {
		for one := range slices.Chunk(elements, 1) {
			select {
			case <-stop:
				return nil
			default:
			}
			if err := errors.Join(k.DeleteElements(one), k.AddElements(one)); err != nil {
				return err
			}
		}
	}
}
