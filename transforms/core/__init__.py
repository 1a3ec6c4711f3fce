"""The numerics: eight packages over a few shared modules; each file is one idea.

    explain                               images → explanations
    path      drift      findings         which gradients, and their sum · two sets of rows → a judgement · one → groups
    image     model     maps   statistics bytes → pixels · a file → the compiled step · a map → numbers · rows → sums
    record    option    errors            what crosses packages · how options are declared · whose fault it is
    vocabulary          stable_hash       every word and limit, once · every choice that a text alone makes

A package imports only packages below it. Nothing here imports Beam or the stages around it; only `model` imports
TensorFlow.
"""
