//! Networks that do not run from their weights alone, by the names of their tensors.

/// Words that all occur in the names of such a network, and what it is.
const KINDS: &[(&[&str], &str)] = &[
    (
        &["bb.layers.", "relative_position_bias_table", "decoder."],
        "BiRefNet, with a Swin transformer as its encoder",
    ),
    (&["image_encoder.", "mask_decoder.", "prompt_encoder."], "Segment Anything (SAM), a vision transformer"),
    (&["relative_position_bias_table"], "a Swin transformer"),
    (&["segformer.encoder."], "SegFormer, a vision transformer"),
    (&["block1.0.attn.", "patch_embed1."], "a mix transformer (SegFormer), a vision transformer"),
    (&["pixel_decoder.", "transformer_module."], "Mask2Former or OneFormer, a transformer"),
    (&["pretrained.cls_token", "depth_head."], "Depth Anything, a vision transformer (DINOv2)"),
    (&["cls_token", "pos_embed", "register_tokens"], "DINOv2, a vision transformer"),
    (&["cls_token", "pos_embed", "blocks.0.attn."], "a vision transformer (ViT, DINO)"),
    (&["embeddings.cls_token", "encoder.layer.0.attention."], "a vision transformer (ViT, DINO)"),
    (&["text_model.encoder.layers.", "position_embedding"], "a text encoder (CLIP)"),
    (&["visual.transformer.", "text_projection"], "CLIP, a transformer"),
    (&["shared.weight", "encoder.block.0.layer.0.SelfAttention"], "a text encoder (T5)"),
    (
        &["cond_stage_model.", "first_stage_model.", "model.diffusion_model."],
        "Stable Diffusion with its text encoder",
    ),
    (&["lm_head.", "self_attn.q_proj"], "a language model"),
    (&["self_attn.q_proj"], "a transformer"),
    (&["transformer.h.0.attn."], "a language model (GPT)"),
    (&["joint_blocks."], "a diffusion transformer"),
    (
        &["transformer_blocks.0.attn1.to_q", "down_blocks."],
        "a diffusion U-Net with cross-attention (diffusers)",
    ),
    (&["backbone.body.", "rpn.head."], "an object detector (Faster or Mask R-CNN)"),
    (&["backbone.bottom_up."], "an object detector of Detectron2"),
    (&[".cv1.conv.weight", ".dfl."], "a YOLO object detector"),
    (&[".m.0.cv1.conv.weight"], "a YOLO object detector"),
    (&["module_list.0.Conv2d."], "a YOLO object detector"),
    (&["transformer.encoder.layers.", "class_embed", "bbox_embed"], "DETR, an object detector"),
    (&["lora_down.", "lora_up."], "LoRA weights, which change another model"),
    (&["lora_A.", "lora_B."], "LoRA weights, which change another model"),
    (&["to_q.weight", "to_k.weight", "to_v.weight"], "a network with attention layers"),
];

/// What names belong to.
pub(in crate::import) fn named(names: &[&str]) -> Option<&'static str> {
    let holds = |word: &&str| names.iter().any(|name| name.contains(word));
    KINDS.iter().find(|(words, _)| words.iter().all(holds)).map(|(_, what)| *what)
}
