//! Small files of models, made for tests: whole ones, and such as somebody may make who means harm.

use std::{collections::BTreeMap, path::Path};

/// Numbers of a vector within the model.
const WIDTH: u64 = 32;

/// A value of the metadata.
pub enum Value {
    Number(u32),
    Float(f32),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<i32>),
}

/// A model of the architecture llama with a token for each byte.
pub struct Crafted {
    pub metadata: BTreeMap<&'static str, Value>,
    pub tensors: BTreeMap<String, Vec<u64>>,
    /// The numbers of the weights, by their place in a tensor.
    pub weight: fn(u32) -> f32,
    /// Whether all tensors are said to be at one place.
    pub is_one_place: bool,
    /// Whether the first tensor is named a second time.
    pub is_doubled: bool,
}

/// The characters that stand for bytes.
pub fn bytes() -> Vec<String> {
    let is_seen = |byte: &u32| matches!(byte, 33..=126 | 0xa1..=0xac | 0xae..=0xff);
    let mut others = 256_u32..;
    let shown = (0..=255_u32).map(|byte| match Some(byte).filter(is_seen) {
        Some(byte) => byte,
        None => others.next().unwrap(),
    });
    shown
        .map(|c| char::from_u32(c).unwrap().to_string())
        .collect()
}

fn ordinary(at: u32) -> f32 {
    (at as f32).sin() * 0.3
}

impl Crafted {
    /// One that answers, without sense.
    pub fn whole() -> Self {
        Self::with(bytes(), 1, WIDTH)
    }

    /// With these tokens before the one that ends answers, so many layers and so many numbers in each.
    pub fn with(mut tokens: Vec<String>, layers: u32, width: u64) -> Self {
        tokens.push("<|endoftext|>".to_owned());
        let count = tokens.len();
        let kinds = (1..=count).map(|at| if at == count { 3 } else { 1 });
        let (last, side) = (count as u32 - 1, width as u32);
        let text = |text: &str| Value::Text(text.to_owned());
        let metadata = BTreeMap::from([
            ("general.architecture", text("llama")),
            ("llama.block_count", Value::Number(layers)),
            ("llama.embedding_length", Value::Number(side)),
            ("llama.feed_forward_length", Value::Number(side)),
            ("llama.attention.head_count", Value::Number(1)),
            ("llama.context_length", Value::Number(8_192)),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("gpt-2")),
            ("tokenizer.ggml.token_type", Value::Numbers(kinds.collect())),
            ("tokenizer.ggml.tokens", Value::Texts(tokens)),
            ("tokenizer.ggml.merges", Value::Texts(Vec::new())),
            ("tokenizer.ggml.eos_token_id", Value::Number(last)),
            (
                "tokenizer.chat_template",
                text("{% for m in messages %}{{ m.content }}\n{% endfor %}"),
            ),
        ]);
        let mut tensors = BTreeMap::from([
            ("token_embd.weight".to_owned(), vec![width, count as u64]),
            ("output_norm.weight".to_owned(), vec![width]),
        ]);
        for layer in 0..layers {
            for name in ["attn_norm", "ffn_norm"] {
                tensors.insert(format!("blk.{layer}.{name}.weight"), vec![width]);
            }
            for name in [
                "attn_q",
                "attn_k",
                "attn_v",
                "attn_output",
                "ffn_gate",
                "ffn_up",
                "ffn_down",
            ] {
                tensors.insert(format!("blk.{layer}.{name}.weight"), vec![width, width]);
            }
        }
        Self {
            metadata,
            tensors,
            weight: ordinary,
            is_one_place: false,
            is_doubled: false,
        }
    }

    /// With another chat template.
    pub fn template(template: &str) -> Self {
        Self::whole().set("tokenizer.chat_template", Value::Text(template.to_owned()))
    }

    /// With another value of the metadata.
    pub fn set(mut self, key: &'static str, value: Value) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        let again = self.tensors.iter().take(usize::from(self.is_doubled));
        let tensors: Vec<_> = self.tensors.iter().chain(again).collect();
        out.extend((tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            put_text(&mut out, key);
            value.put(&mut out);
        }
        let mut data = Vec::new();
        let mut longest = 0;
        for (name, sides) in tensors {
            put_text(&mut out, name);
            out.extend((sides.len() as u32).to_le_bytes());
            sides.iter().for_each(|side| out.extend(side.to_le_bytes()));
            out.extend(0_u32.to_le_bytes());
            out.extend((data.len() as u64).to_le_bytes());
            let count = sides.iter().product::<u64>() as u32;
            if self.is_one_place {
                longest = longest.max(count as usize * 4);
                continue;
            }
            data.extend((0..count).flat_map(|at| (self.weight)(at).to_le_bytes()));
            data.resize(data.len().next_multiple_of(32), 0);
        }
        data.resize(data.len().max(longest), 0);
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(data);
        std::fs::write(path, out).unwrap();
    }
}

impl Value {
    fn put(&self, out: &mut Vec<u8>) {
        let kind: u32 = match self {
            Self::Number(_) => 4,
            Self::Float(_) => 6,
            Self::Text(_) => 8,
            Self::Texts(_) | Self::Numbers(_) => 9,
        };
        out.extend(kind.to_le_bytes());
        match self {
            Self::Number(number) => out.extend(number.to_le_bytes()),
            Self::Float(number) => out.extend(number.to_le_bytes()),
            Self::Text(text) => put_text(out, text),
            Self::Texts(texts) => {
                out.extend(8_u32.to_le_bytes());
                out.extend((texts.len() as u64).to_le_bytes());
                texts.iter().for_each(|text| put_text(out, text));
            }
            Self::Numbers(numbers) => {
                out.extend(5_u32.to_le_bytes());
                out.extend((numbers.len() as u64).to_le_bytes());
                numbers
                    .iter()
                    .for_each(|number| out.extend(number.to_le_bytes()));
            }
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
