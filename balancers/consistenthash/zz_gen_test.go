package consistenthash_test
import ("testing";"fmt";"strings")
func TestZZGen(t *testing.T) {
	for _, k := range []string{"", "a", "b", "user-1", "user-2", "user-3", "user-4", "alice", "bob", "a,b", "A", "ü", "日本", "\x00", "192.0.2.1", "550e8400-e29b-41d4-a716-446655440000", "session/7f3a", "key with spaces", "0", strings.Repeat("x", 64)} {
		fmt.Printf("\t{%q, %q, %q},\n", k, owner(t, goldenPicker(1,1,1,1,1), k), owner(t, goldenPicker(1,2,3,50,7), k))
	}
}
