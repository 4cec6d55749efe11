package words

// Nearest returns the name that differs from text in the fewest letters; empty where each differs in more than a third
// of them.
func Nearest(text string, names []string) (near string) {
	least := (len(text)+2)/3 + 1
	for _, n := range names {
		if d := distance(text, n); d < least {
			near, least = n, d
		}
	}
	return near
}

// distance counts the letters to put in, take out or change that make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := before
			if a[i] != b[j] {
				changed++
			}
			before, row[j+1] = row[j+1], min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
