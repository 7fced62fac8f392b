package model

// Memory says what training takes, in bytes.
type Memory struct {
	Parameters  int64 `json:"parameters"`
	Gradient    int64 `json:"gradient"` // wte twice: as head and as embedding (N14)
	Moments     int64 `json:"moments"`
	Activations int64 `json:"activations"` // of a micro-batch, with their gradients
	Logits      int64 `json:"logits"`
}

// Total is the sum.
func (m Memory) Total() int64 {
	return m.Parameters + m.Gradient + m.Moments + m.Activations + m.Logits
}

// TrainingMemory returns what batches of b sequences of t tokens take while
// they are trained on with Model.MicroBatch = micro.
func TrainingMemory(c Config, b, t, micro int) Memory {
	slice := max(1, headTokens/t) // sequences whose logits exist at once
	if micro == 0 {
		micro = slice
	}
	sequences := min(b, micro)
	rows := int64(sequences * t)
	width, inner := int64(c.Embd), int64(c.Inner)
	// Of a block: two LayerNorms with mean and deviation, queries with keys and
	// values, probabilities, attention, three more of width, two of the MLP.
	probabilities := int64(sequences*c.Heads) * int64(t) * int64(t)
	block := rows*(9*width+2*inner+4) + probabilities
	activations := int64(c.Layers)*block + rows*(2*width+3)
	// Gradients of activations are reused from block to block; at most so many
	// exist at once. Those of the probabilities depend on the number of threads.
	gradients := rows*(6*width+2*inner) + probabilities
	elements := int64(c.elements())
	return Memory{
		Parameters:  4 * elements,
		Gradient:    4 * (elements + int64(c.Vocab)*width),
		Moments:     8 * elements,
		Activations: 4 * (activations + gradients),
		Logits:      4 * int64(min(sequences, slice)*t) * int64(c.Vocab),
	}
}
