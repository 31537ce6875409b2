"""The stages of a study, a file each: bounds, explore, explain, confirm, final, ensemble.

Each reads the artefacts of those before it, has an engine train what it plans, and gives its own artefact.
It may not know how lanes are made, nor who runs the stages.
"""
