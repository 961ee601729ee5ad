package identifier

import "testing"

func TestWidth(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "web": 3, "größe": 5, "gro\u0308ße": 5, "名前": 4, "ﾅﾏｴ": 3, "Ｗｅｂ": 6, "한글": 4, "🐳x": 3, "├─ ": 3, "а": 1, "…": 1,
	} {
		if got := Width(text); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}
